"""Outlines in other programs' formats; VIA's is read back by our own reader."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.export import to_coco, to_via
from seg_edge.postprocess import find_polygons

NAMES = ("background", "cat", "dog")


@pytest.fixture
def labels() -> np.ndarray:
    drawn = np.zeros((60, 80), np.uint8)
    drawn[10:30, 20:50] = 1
    drawn[40:50, 5:15] = 2
    return drawn


def test_coco_has_boxes_areas_and_categories_of_the_label_map(labels: np.ndarray) -> None:
    document = to_coco("a.jpg", (80, 60), find_polygons(labels, NAMES, 1), NAMES)
    assert document["images"] == [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}]
    assert document["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    cat, dog = document["annotations"]
    assert (cat["category_id"], cat["bbox"], cat["area"]) == (1, [20, 10, 30, 20], 600)
    assert (dog["category_id"], dog["bbox"], dog["area"]) == (2, [5, 40, 10, 10], 100)
    drawn = cv2.fillPoly(np.zeros((60, 80), np.uint8), [np.array(cat["segmentation"][0]).reshape(-1, 2)], 1)
    assert np.array_equal(drawn, labels == 1)


def test_via_annotations_read_by_train_give_the_same_mask(labels: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("train.masks", reason="the workstation's packages aren't installed (pip install '.[train]')")
    from train.annotations.draw import draw_mask
    from train.via.read import read_via

    path = tmp_path / "a.via.json"
    path.write_text(json.dumps(to_via("a.jpg", 1234, find_polygons(labels, NAMES, 1))))
    regions = read_via(path)["a.jpg"]
    assert [region.label for region in regions] == ["cat", "dog"]
    assert np.array_equal(draw_mask(regions, (60, 80), NAMES), labels)
