"""Polygons for other programs: points, VIA 2 annotations, to correct by hand and train on again, and COCO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seg_edge.postprocess import Polygon

VIA_ATTRIBUTE = "class"


def to_points(polygons: Sequence[Polygon]) -> list[dict[str, Any]]:
    """`[{"class": name, "area": pixels, "points": [[x, y], ...]}]`, for programs that read seg-edge's JSON."""
    return [
        {"class": polygon.label, "area": polygon.area, "points": polygon.points_xy.tolist()} for polygon in polygons
    ]


def to_via(photo: str, file_bytes: int, polygons: Sequence[Polygon]) -> dict[str, Any]:
    """VIA 2 annotations of one photo, as "Annotation > Import Annotations (from json)" reads them.

    Args:
        photo: File name.
        file_bytes: Size of the photo's file; VIA's key is name and size.
        polygons: In the upright photo's pixels.
    """
    regions = [
        {
            "shape_attributes": {
                "name": "polygon",
                "all_points_x": polygon.points_xy[:, 0].tolist(),
                "all_points_y": polygon.points_xy[:, 1].tolist(),
            },
            "region_attributes": {VIA_ATTRIBUTE: polygon.label},
        }
        for polygon in polygons
    ]
    entry = {"filename": photo, "size": file_bytes, "regions": regions, "file_attributes": {}}
    return {f"{photo}{file_bytes}": entry}


def to_coco(
    photo: str, size_wh: tuple[int, int], polygons: Sequence[Polygon], classes: Sequence[str]
) -> dict[str, Any]:
    """A COCO object detection document of one photo (https://cocodataset.org/#format-data).

    Args:
        photo: File name.
        size_wh: Of the upright photo.
        polygons: In its pixels. `area` counts a region's pixels; the polygon is its outer edge, holes are not cut out.
        classes: Names by label value, background first; a category's id is its label value.
    """
    annotations = []
    for number, polygon in enumerate(polygons, 1):
        left, top = (int(v) for v in polygon.points_xy.min(axis=0))
        right, bottom = (int(v) for v in polygon.points_xy.max(axis=0))
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": list(classes).index(polygon.label),
                "segmentation": [polygon.points_xy.ravel().tolist()],
                "area": polygon.area,
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "iscrowd": 0,
            }
        )
    return {
        "images": [{"id": 1, "file_name": photo, "width": size_wh[0], "height": size_wh[1]}],
        "annotations": annotations,
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes) if index],
    }


def join_coco(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One COCO document of several photos' from `to_coco`, which share their categories; ids are renumbered."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, document in enumerate(documents, 1):
        images += [{**image, "id": number} for image in document["images"]]
        for annotation in document["annotations"]:
            annotations.append({**annotation, "id": len(annotations) + 1, "image_id": number})
    return {"images": images, "annotations": annotations, "categories": documents[0]["categories"] if documents else []}
