"""What can go wrong, said so that the person at the keyboard knows what to do about it.

Every message is one sentence or two: what was wrong, where, and what to do. `seg_edge.commands.cli` prints them on
one line and turns them into an exit code; nothing else in the package prints or exits.
"""


class SegEdgeError(Exception):
    """Base of every error this package raises on purpose. Its text is the whole message to the user."""


class PhotoError(SegEdgeError):
    """A photo that can't be found, read, decoded or is too large."""


class PhotoTooLargeError(PhotoError):
    """A photo of more pixels or bytes than are taken, or than there is memory for."""


class ModelError(SegEdgeError):
    """A model file that can't be found, trusted, loaded or does not segment."""


class RuntimeMissingError(SegEdgeError):
    """No LiteRT runtime that works is installed."""


class OutputError(SegEdgeError):
    """A result that can't be written."""


class UsageError(SegEdgeError):
    """Arguments that make no sense together; the CLI exits with 2."""


class DataError(SegEdgeError):
    """Annotations, masks or a data folder that can't be used as they are."""


class SourceError(SegEdgeError):
    """A camera, stream or file of frames that can't be opened or has failed."""
