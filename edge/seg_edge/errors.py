"""The errors this package raises on purpose.

SegEdgeError
├── PhotoError                a photo can't be read
│   └── PhotoTooLargeError    it has more pixels or bytes than the limit or the memory allow
├── ModelError                a model file can't be used
├── RuntimeMissingError       no LiteRT runtime works
├── SourceError               a camera, stream or video can't be opened, or has failed
├── DataError                 annotations, masks or a data folder can't be used
├── OutputError               a result can't be written
└── UsageError                arguments that don't fit together; exit code 2, where the others give 1

The text of each is one or two sentences for the user: what was wrong, where, and what to do. Only the commands print it
and exit.
"""


class SegEdgeError(Exception):
    """Base of every error this package raises on purpose. Its text is the whole message to the user."""


class PhotoError(SegEdgeError):
    """A photo can't be found, read or decoded."""


class PhotoTooLargeError(PhotoError):
    """A photo has more pixels or bytes than the limit or the memory allow."""


class ModelError(SegEdgeError):
    """A model file can't be found, trusted or loaded, or isn't a segmentation model."""


class RuntimeMissingError(SegEdgeError):
    """No LiteRT runtime works here."""


class SourceError(SegEdgeError):
    """A camera, stream or video can't be opened, or has failed."""


class DataError(SegEdgeError):
    """Annotations, masks or a data folder can't be used as they are."""


class OutputError(SegEdgeError):
    """A result can't be written."""


class UsageError(SegEdgeError):
    """Arguments that don't fit together; a command exits with 2."""
