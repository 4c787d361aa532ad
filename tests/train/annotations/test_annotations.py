"""Annotations of every format, as the tools' own libraries wrote them, give the same masks."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.errors import DataError
from seg_edge.export import to_coco
from seg_edge.photo.read import read_photo
from seg_edge.postprocess import find_polygons
from train.annotations.draw import draw_mask
from train.annotations.find import Choices, read_annotations
from train.annotations.mask_files import photo_of_mask
from train.annotations.region import BrokenRowError
from train.annotations.rle import bitmap_of, uncompressed
from train.masks import make_masks

FORMATS = Path(__file__).parents[2] / "data" / "formats"
PHOTOS = FORMATS / "photos"
LABELS = ["background", "cat", "dog"]


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    masks = {}
    for photo, shapes in json.loads((FORMATS / "truth.json").read_text()).items():
        masks[photo] = np.zeros((48, 64), np.uint8)
        for label, points in shapes:
            cv2.fillPoly(masks[photo], [np.array(points, np.int32)], LABELS.index(label))
    return masks


@pytest.mark.parametrize(
    "name",
    [
        "coco_datumaro",
        "coco_supervision.json",
        "coco_pycocotools_rle.json",
        "cvat_datumaro",
        "labelme",
        "label_studio.json",
        "label_studio_brush.json",
        "supervisely_polygon",
        "supervisely_bitmap",
        "yolo_supervision",
        "voc_datumaro",
        "palette",
        "colours",
        "numbers",
    ],
)
def test_every_format_gives_the_same_masks(name: str, truth: dict[str, np.ndarray]) -> None:
    found = read_annotations(FORMATS / name, PHOTOS, Choices())
    assert set(found) == set(truth) - ({"p3.png"} if name == "voc_datumaro" else set())  # its photo has no mask there
    for photo, regions in found.items():
        np.testing.assert_array_equal(draw_mask(regions, (48, 64), LABELS), truth[photo], photo)


def test_a_hole_in_supervisely_shows_the_regions_under_it(tmp_path: Path) -> None:
    ring = {"exterior": [[2, 2], [30, 2], [30, 30], [2, 30]], "interior": [[[10, 10], [20, 10], [20, 20], [10, 20]]]}
    under = {"exterior": [[12, 12], [18, 18]], "interior": []}
    objects = [
        {"classTitle": "dog", "geometryType": "rectangle", "points": under},
        {"classTitle": "cat", "geometryType": "polygon", "points": ring},
    ]
    document = {"size": {"width": 64, "height": 48}, "objects": objects}
    (tmp_path / "p0.png.json").write_text(json.dumps(document))
    mask = draw_mask(read_annotations(tmp_path, PHOTOS, Choices())["p0.png"], (48, 64), LABELS)
    assert np.bincount(mask.ravel()).tolist()[1:] == [720, 49]  # as Supervisely's own `Polygon.draw` counts


def label_studio(path: Path, **task: object) -> Path:
    path.write_text(json.dumps([{"id": 7, "data": {"image": "/data/upload/1/0a1b2c3d-p0.png"}, **task}]))
    return path


def test_label_studio_uses_the_newest_finished_annotation(tmp_path: Path) -> None:
    def annotation(label: str, day: int, cancelled: bool = False) -> dict[str, object]:
        value = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": [label]}
        result = {"type": "polygonlabels", "original_width": 64, "original_height": 48, "value": value}
        return {"created_at": f"2026-11-0{day}", "was_cancelled": cancelled, "result": [result]}

    annotations = [annotation("new", 3), annotation("old", 2), annotation("cancelled", 4, cancelled=True)]
    (region,) = read_annotations(label_studio(tmp_path / "a.json", annotations=annotations), PHOTOS, Choices())[
        "p0.png"
    ]
    assert (region.label, region.points_xy.tolist()) == ("new", [[0, 0], [32, 0], [32, 24]])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"type": "polygon", "value": {"points": [[0, 0], [5, 0], [5, 5]]}}, "None is not the name of a class"),
        (
            {"type": "ellipselabels", "value": {"x": 5, "radiusX": 2, "ellipselabels": ["cat"]}},
            "ellipse is not an area",
        ),
        ({"type": "brushlabels", "value": {"rle": [0, 0, 0, 9], "brushlabels": ["cat"]}}, "not run lengths of 64x48"),
        ({"type": "rectanglelabels", "value": {"rotation": 9, "rectanglelabels": ["cat"]}}, "it is rotated"),
    ],
)
def test_label_studio_shapes_without_an_outline_are_refused(
    tmp_path: Path, result: dict[str, object], message: str
) -> None:
    annotation = {"result": [{"original_width": 64, "original_height": 48, **result}]}
    with pytest.raises(DataError, match=f"task 7, region 1: .*{message}"):
        read_annotations(label_studio(tmp_path / "a.json", annotations=[annotation]), PHOTOS, Choices())


def test_white_in_black_and_white_masks_needs_a_name(truth: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="name it with --label"):
        read_annotations(FORMATS / "black_and_white", PHOTOS, Choices())
    found = read_annotations(FORMATS / "black_and_white", PHOTOS, Choices(label="cat"))
    for photo, regions in found.items():
        np.testing.assert_array_equal(draw_mask(regions, (48, 64), LABELS[:2]) == 1, truth[photo] == 1)


def test_the_image_commands_coco_polygons_are_read_back(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    polygons = find_polygons(truth["p1.png"], tuple(LABELS), 1, tolerance=0.0)
    (tmp_path / "p1.json").write_text(json.dumps(to_coco("p1.png", (64, 48), polygons, LABELS)))
    found = read_annotations(tmp_path / "p1.json", PHOTOS, Choices())
    np.testing.assert_array_equal(draw_mask(found["p1.png"], (48, 64), LABELS), truth["p1.png"])


def test_a_data_folder_from_another_format(tmp_path: Path) -> None:
    summary = make_masks(FORMATS / "cvat_datumaro", PHOTOS, tmp_path / "data")
    assert [(c.name, c.photos) for c in summary.classes] == [("background", 4), ("cat", 3), ("dog", 1)]


def test_a_photo_of_another_size_than_the_annotated_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for photo in PHOTOS.iterdir():
        cv2.imwrite(str(tmp_path / "photos" / photo.name), np.zeros((96, 128, 3), np.uint8))
    with pytest.raises(DataError, match=r"another size.*\n.*p0.png \(128x96; .* is of 64x48\)"):
        make_masks(FORMATS / "labelme", tmp_path / "photos", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "hello", "begins with 'hello'. Give VIA"),
        ("a.json", '{"a": 1}', "not in a known annotation format; give VIA"),
        ("a.xml", "<annotation><object/></annotation>", "give its folder of masks, SegmentationClass"),
        ("a.xml", "<annotations><track/></annotations>", "export of a video"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares entities"),
        ("a.zip", b"PK\x03\x04\xff\xfe", "a ZIP; unpack it first"),
        ("a.json", '{"images": [{"id": 1, "file_name": "p0.png"}], "annotations": []}', ""),
    ],
)
def test_files_without_annotations_are_refused_with_advice(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if not message:
        assert read_annotations(path, PHOTOS, Choices()) == {"p0.png": ()}
        return
    with pytest.raises(DataError, match=message):
        read_annotations(path, PHOTOS, Choices())


def test_yolo_boxes_and_unknown_class_numbers_are_reported(tmp_path: Path) -> None:
    (tmp_path / "p0.txt").write_text("0 0.5 0.5 0.2 0.2\n3 0.1 0.1 0.2 0.1 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    with pytest.raises(DataError, match=r"p0.txt:1: it is a box.*\n.*p0.txt:2: class '3' is not one of cat"):
        read_annotations(tmp_path, PHOTOS, Choices())


@pytest.mark.parametrize("names", ["{1: dog, 0: cat}", "{0: cat, '1': dog}", "[cat, dog]"])
def test_yolo_names_follow_their_numbers(tmp_path: Path, names: str, truth: dict[str, np.ndarray]) -> None:
    shutil.copytree(FORMATS / "yolo_supervision", tmp_path, dirs_exist_ok=True)
    (tmp_path / "data.yaml").write_text(f"names: {names}\n")
    found = read_annotations(tmp_path, PHOTOS, Choices())
    for photo, regions in found.items():
        np.testing.assert_array_equal(draw_mask(regions, (48, 64), LABELS), truth[photo], photo)


def test_yolo_class_numbers_may_have_gaps(tmp_path: Path) -> None:
    (tmp_path / "p0.txt").write_text("2 0.1 0.1 0.2 0.1 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("names: {0: cat, 2: dog}\n")
    assert [region.label for region in read_annotations(tmp_path, PHOTOS, Choices())["p0.png"]] == ["dog"]


def test_masks_next_to_their_photos_as_roboflow_writes_them(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    for name, mask in truth.items():
        cv2.imwrite(str(tmp_path / name.replace("png", "jpg")), read_photo(PHOTOS / name))
        cv2.imwrite(str(tmp_path / name.replace(".png", "_mask.png")), mask)
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    found = read_annotations(tmp_path, tmp_path, Choices())
    assert set(found) == {f"p{number}.jpg" for number in range(4)}
    for photo, regions in found.items():
        expected = truth[photo.replace("jpg", "png")]
        np.testing.assert_array_equal(draw_mask(regions, (48, 64), LABELS), expected, photo)


def test_a_mask_prefers_the_photo_with_exactly_its_name(tmp_path: Path) -> None:
    photos = {name: tmp_path / f"{name}.jpg" for name in ("a", "a_l")}
    assert photo_of_mask(tmp_path / "masks" / "a_l.png", photos) == photos["a_l"]
    assert photo_of_mask(tmp_path / "masks" / "a_mask.png", photos) == photos["a"]


def test_a_rotated_box_of_x_anylabeling_is_an_outline(tmp_path: Path) -> None:
    shape = {"label": "cat", "shape_type": "rotation", "points": [[9, 2], [20, 9], [14, 20], [3, 13]]}
    document = {"version": "2.5.4", "shapes": [shape], "imagePath": "p0.png", "imageHeight": 48, "imageWidth": 64}
    (tmp_path / "p0.json").write_text(json.dumps(document))
    (region,) = read_annotations(tmp_path, PHOTOS, Choices())["p0.png"]
    assert region.points_xy.tolist() == shape["points"]


def test_via_with_semicolons_or_in_utf_16_and_regions_without_an_attribute(tmp_path: Path) -> None:
    shape = {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]}
    cell = json.dumps(shape).replace('"', '""')
    rows = f'filename;file_size;file_attributes;region_count;region_id;s;a\np0.png;1;"{{}}";1;0;"{cell}";"{{}}"\n'
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "via.csv").write_text(rows, encoding=encoding)
        with pytest.raises(DataError, match="--label NAME"):
            read_annotations(tmp_path / "via.csv", PHOTOS, Choices())
        found = read_annotations(tmp_path / "via.csv", PHOTOS, Choices(label="balloon"))
        assert [region.label for region in found["p0.png"]] == ["balloon"]


def test_run_lengths() -> None:
    np.testing.assert_array_equal(bitmap_of([1, 2, 3], (2, 3), by_column=True), [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(bitmap_of([1, 2, 3], (2, 3), by_column=False), [[0, 1, 1], [0, 0, 0]])
    for runs in ([1, 2], [-1, 7], [7]):
        with pytest.raises(BrokenRowError, match="don't add up"):
            bitmap_of(runs, (2, 3), by_column=True)
    with pytest.raises(BrokenRowError, match="not compressed run lengths"):
        uncompressed("é")
