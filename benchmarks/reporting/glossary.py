"""What the report's words mean, for somebody who meets them for the first time."""

GLOSSARY = (
    (
        "Dice",
        "how well a mask covers the true one: twice the common pixels over the pixels of both. 1 is the same mask, "
        "0 has no pixel in common.",
    ),
    ("mean Dice", "each class's Dice over the pixels of all photos together, then the mean of the classes."),
    ("mean over photos", "each photo's Dice, then the mean of the photos: a small or empty one counts as much as any."),
    ("IoU", "the common pixels over those that are in either mask; stricter than Dice."),
    ("boundary F", "how much of the two outlines lies near the other. It sees frayed edges, which Dice hardly does."),
    (
        "ratio",
        "a model's time over that of the reference, a fixed model timed in turns with it. Milliseconds depend on the "
        "machine, its load and the day; a ratio does so far less. Below 1 is faster than the reference.",
    ),
    (
        "interval",
        "where a figure would likely lie if it were measured again: a score on other photos (the middle 95 % over "
        "resampled photos), a ratio in other rounds (its median's). If two overlap, don't believe in the difference.",
    ),
    (
        "median, 95 %, 99 %",
        "half of the inferences took no longer; 95 and 99 of 100 took no longer.",
    ),
    ("flicker", "the share of still pixels that change their class from one frame to the next, without smoothing."),
    (
        "cold start",
        "one photo as a new process, from the command to the picture: Python, libraries, model, everything.",
    ),
    ("agreement", "the full model's answer in the place of the truth: what changed when the model was made small."),
    ("the full one", "the large U-Net that small ones are made from."),
    ("int8, float32", "whether a model reckons with whole numbers of 8 bits or with fractions of 32."),
)
