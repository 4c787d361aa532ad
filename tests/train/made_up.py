"""A synthetic class of students: photos of one coloured shape each on a grey, blotchy background.

Simple enough for a tiny U-Net to learn in a minute, with exactly known outlines.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

COLOURS_BGR = {"red": (40, 40, 220), "green": (50, 190, 60), "blue": (210, 90, 40)}
VIA2_HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"


def make_class(
    folder: Path,
    photos: int = 24,
    classes: Sequence[str] = ("red", "green", "blue"),
    size: tuple[int, int] = (96, 72),
    seed: int = 0,
) -> Path:
    """A data folder as train/masks.py writes it: images/*.jpg, masks/*.png, labels.txt.

    Args:
        folder: Created with its parents.
        photos: How many; they show the classes in turn.
        classes: Names from COLOURS_BGR.
        size: Width and height of a photo.
        seed: Seed of the shapes and backgrounds.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name, label, image, points in _scenes(photos, classes, size, seed):
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [points], classes.index(label) + 1)
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
    (folder / "labels.txt").write_text("\n".join(["background", *classes]) + "\n")
    return folder


def annotate_via_csv(
    folder: Path,
    photos: int = 24,
    classes: Sequence[str] = ("red", "green", "blue"),
    size: tuple[int, int] = (96, 72),
    seed: int = 0,
) -> Path:
    """The same scenes as input for train/masks.py: photos/*.jpg and a VIA 2 CSV.

    Returns:
        The CSV, folder/via_region_data.csv; its region attribute is called 'student'.
    """
    (folder / "photos").mkdir(parents=True)
    rows = [VIA2_HEADER.split(",")]
    for name, label, image, points in _scenes(photos, classes, size, seed):
        path = folder / "photos" / f"{name}.jpg"
        cv2.imwrite(str(path), image)
        x, y = points.T.tolist()
        shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
        cells = ["{}", "1", "0", json.dumps(shape), json.dumps({"student": label})]
        rows.append([path.name, str(path.stat().st_size), *cells])
    table = folder / "via_region_data.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return table


def _scenes(
    photos: int, classes: Sequence[str], size_wh: tuple[int, int], seed: int
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """(name, class, BGR photo, outline int32 (n, 2)) for each photo."""
    random = np.random.default_rng(seed)
    width, height = size_wh
    for number in range(photos):
        label = classes[number % len(classes)]
        # Different blotches in every photo, so that no two look like a burst.
        blotches = random.integers(50, 206, (6, 8), np.uint8)
        grey = cv2.resize(blotches, size_wh, interpolation=cv2.INTER_CUBIC)
        image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        centre = random.uniform((0.35, 0.35), (0.65, 0.65)) * size_wh
        radius = random.uniform(0.2, 0.32) * min(width, height)
        corners = int(random.integers(4, 9))
        angles = 2 * np.pi * np.arange(corners) / corners + random.uniform(0, np.pi)
        outline = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.rint(outline).astype(np.int32)
        cv2.fillPoly(image, [points], COLOURS_BGR[label])
        yield f"photo_{number:03}", label, image, points
