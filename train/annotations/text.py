"""An annotation file's text, in whatever encoding a spreadsheet left it."""

from __future__ import annotations

from pathlib import Path

from seg_edge.errors import DataError

ACCEPTED = (
    "VIA (CSV, JSON), COCO (JSON), LabelMe and Supervisely (a folder of JSON), Label Studio (JSON, not JSON-MIN), CVAT "
    "for images (XML), YOLO segmentation (a folder of TXT with data.yaml), or masks (a folder of PNG: Pascal VOC, "
    "class numbers, colours with a table, black and white)"
)

HELP = "Annotations from VIA, COCO, LabelMe, Label Studio, Supervisely, CVAT or YOLO, or masks."


def read_text(path: Path) -> str:
    """The file's content with Unix line ends: UTF-8, or UTF-16 if it has that byte order mark.

    Raises:
        DataError: It can't be read, or isn't text.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        reason = "a ZIP; unpack it first, and give" if content[:2] == b"PK" else "not UTF-8 text; give"
        raise DataError(f"{path} is {reason} {ACCEPTED}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Can't read {path}: {error}.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
