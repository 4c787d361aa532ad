"""Annotations of photos, from any tool, as regions.

To add a format:

1. Write `annotations/NAME.py` with `is_NAME`, which recognises a file by its content, and `read_NAME`, which gives each
   region to the `Collector` (`region.py`): `found.add(photo, where, make)`, where `make` returns a `Region`, or raises
   `BrokenRowError` with the reason why it can't. Outlines go through `outline_of`, names through `class_name`.
2. In `find.py`, add a list to `_Found`, recognise the file in `_sort` (or `_sort_json`, `_sort_xml`), and read it in
   `read_annotations`. Name the format in `ACCEPTED` of `text.py`, which messages show.
3. Put a file written by the tool into `tests/data/formats`, and add its name to the list in
   `tests/train/annotations/test_annotations.py`, which compares its masks pixel by pixel with the other formats'.
4. Add a row to `docs/formats.md`.
"""
