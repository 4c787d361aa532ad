"""The measurements of `seg-edge bench`, one file each, and the document with their results."""
