"""Settings of all tests of the package."""

from hypothesis import settings

# No deadline: a Pi, or a machine that trains at the same time, may take its time.
settings.register_profile("edge", deadline=None, max_examples=50)
settings.load_profile("edge")
