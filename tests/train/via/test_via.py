"""An annotation gives the same regions in every flavour of VIA; broken rows are reported."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seg_edge.errors import DataError
from train.via.read import Region, read_via

HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
VIA3_COLUMNS = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"

TRIANGLE = {"name": "polygon", "all_points_x": [1, 20, 5], "all_points_y": [2, 3, 30.5]}
CLOSED = {"name": "polygon", "all_points_x": [1, 20, 5, 1], "all_points_y": [2, 3, 30.5, 2]}
RECT = {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40}
# photo -> (size, [(shape, class)]): b.jpg is a background photo.
PHOTOS: dict[str, tuple[int, list[tuple[dict[str, Any], str]]]] = {
    "a.jpg": (100, [(TRIANGLE, "hoodie"), (RECT, "grey")]),
    "b.jpg": (200, []),
    "ü 3.jpg": (300, [(RECT, "hoodie")]),
}
EXPECTED = {
    "a.jpg": [
        ("hoodie", [[1, 2], [20, 3], [5, 30.5]]),
        ("grey", [[10, 20], [40, 20], [40, 60], [10, 60]]),
    ],
    "b.jpg": [],
    "ü 3.jpg": [("hoodie", [[10, 20], [40, 20], [40, 60], [10, 60]])],
}


def via2_csv(first: str = "filename", closed: bool = False) -> str:
    """As `pack_via_metadata('csv')` writes it: quoted JSON, its quotes doubled, no last newline."""
    lines = [HEADER.replace("filename", first, 1)]
    for photo, (size, regions) in PHOTOS.items():
        if not regions:
            lines.append(f'{photo},{size},"{{}}",0,0,"{{}}","{{}}"')
        for number, (shape, label) in enumerate(regions):
            shape = CLOSED if closed and shape is TRIANGLE else shape
            cells = [json.dumps(part).replace('"', '""') for part in (shape, {"student": label})]
            lines.append(f'{photo},{size},"{{}}",{len(regions)},{number},"{cells[0]}","{cells[1]}"')
    return "\n".join(lines)


def via_json(version: int) -> dict[str, Any]:
    photos: dict[str, Any] = {}
    for photo, (size, regions) in PHOTOS.items():
        found = [
            {
                "shape_attributes": CLOSED if version == 1 and shape is TRIANGLE else shape,
                "region_attributes": {"student": label},
            }
            for shape, label in regions
        ]
        photos[f"{photo}{size}"] = {
            "filename": photo,
            "size": size,
            "regions": {str(n): r for n, r in enumerate(found)} if version == 1 else found,
            "file_attributes": {},
            **({"fileref": "", "base64_img_data": ""} if version == 1 else {}),
        }
    return photos


def via2_project() -> dict[str, Any]:
    return {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "class"}},
        "_via_img_metadata": via_json(2),
        "_via_attributes": {"region": {"student": {"type": "dropdown"}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(via_json(2)),
    }


def via3_csv(rows: list[tuple[str, list[Any], dict[str, str]]], attributes: Any) -> str:
    out = io.StringIO()
    out.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n")
    out.write('# - metadata of {""1"":""3""} indicates attribute with id "1"\n')
    out.write('# SHAPE_ID = {"POINT":1,"RECTANGLE":2,"POLYGON":7}\n')
    out.write(f"# ATTRIBUTE = {json.dumps(attributes)}\n# CSV_HEADER = {VIA3_COLUMNS}\n")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    for number, (photo, xy, values) in enumerate(rows):
        cells = [json.dumps(part) for part in ([photo], [], xy, values)]
        writer.writerow([f"1_{number}", cells[0], 0, *cells[1:]])
    return out.getvalue()


STUDENT = {
    "aname": "student",
    "anchor_id": "FILE1_Z0_XY1",
    "type": 4,
    "options": {"0": "hoodie", "1": "grey"},
    "default_option_id": "",
}
CAPTION = {"aname": "caption", "anchor_id": "FILE1_Z0_XY0", "type": 1, "options": {}}
VIA3_ROWS: list[tuple[str, list[Any], dict[str, str]]] = [
    ("a.jpg", [7, 1, 2, 20, 3, 5, 30.5], {"1": "0"}),
    ("a.jpg", [2, 10, 20, 30, 40], {"1": "1", "2": "him"}),
    ("b.jpg", [], {"2": "an empty room"}),
    ("ü 3.jpg", [2, 10, 20, 30, 40], {"1": "0"}),
]

FLAVOURS = {
    "via2.csv": via2_csv(),
    "via1.csv": via2_csv("#filename", closed=True),
    "via2.json": json.dumps(via_json(2)),
    "via1.json": json.dumps(via_json(1)),
    "via2_project.json": json.dumps(via2_project(), indent=2),
    "via3.csv": via3_csv(VIA3_ROWS, {"1": STUDENT, "2": CAPTION}),
}


def plain(regions: dict[str, tuple[Region, ...]]) -> dict[str, list[tuple[str, list]]]:
    return {photo: [(region.label, region.points_xy.tolist()) for region in found] for photo, found in regions.items()}


def area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def write(folder: Path, text: str, name: str = "via.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def csv_file(folder: Path, *regions: tuple[Any, Any]) -> Path:
    """A VIA 2 CSV with a row per region: (shape, attributes), the first on line 2."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for n, (shape, attributes) in enumerate(regions):
        writer.writerow(["a.jpg", 1, "{}", len(regions), n, json.dumps(shape), json.dumps(attributes)])
    return write(folder, f"{HEADER}\n{out.getvalue()}")


def only(path: Path, **options: Any) -> Region:
    ((region,),) = read_via(path, **options).values()
    return region


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_flavour_gives_the_same_regions(tmp_path: Path, name: str, newline: str, mark: str) -> None:
    path = write(tmp_path, mark + FLAVOURS[name].replace("\n", newline), name)
    regions = read_via(path)
    assert plain(regions) == EXPECTED
    assert list(regions) == list(EXPECTED)
    assert {r.points_xy.dtype for found in regions.values() for r in found} == {np.dtype("f8")}


def test_regions_say_where_they_are(tmp_path: Path) -> None:
    rows = read_via(write(tmp_path, FLAVOURS["via2.csv"]))
    assert [r.where for r in rows["a.jpg"]] == ["via.csv:2", "via.csv:3"]
    assert rows["ü 3.jpg"][0].where == "via.csv:5"
    rows = read_via(write(tmp_path, FLAVOURS["via3.csv"]))
    assert [r.where for r in rows["a.jpg"]] == ["via.csv:6", "via.csv:7"]
    rows = read_via(write(tmp_path, FLAVOURS["via1.json"], "via.json"))
    assert rows["a.jpg"][1].where == "via.json: photo 'a.jpg', region 2"


ELLIPSE = {"name": "ellipse", "cx": 50, "cy": 60, "rx": 40, "ry": 10}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (TRIANGLE, 0.5 * (19 * 28.5 - 4 * 1)),
        ({**TRIANGLE, "name": "polyline"}, 0.5 * (19 * 28.5 - 4 * 1)),
        (RECT, 30 * 40),
        ({"name": "circle", "cx": 50, "cy": 60, "r": 20.5}, math.pi * 20.5**2),
        (ELLIPSE, math.pi * 400),
        ({**ELLIPSE, "theta": 0.7}, math.pi * 400),
    ],
)
def test_polygons_have_their_shapes_areas(tmp_path: Path, shape: dict, expected: float) -> None:
    points = only(csv_file(tmp_path, (shape, {"c": "x"}))).points_xy
    assert area(points) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("radius", [0.3, 3, 30, 3000])
def test_a_circle_is_within_a_fifth_of_a_pixel(tmp_path: Path, radius: float) -> None:
    shape = {"name": "circle", "cx": 50, "cy": 60, "r": radius}
    points = only(csv_file(tmp_path, (shape, {"c": "x"}))).points_xy
    middles = (points + np.roll(points, 1, axis=0)) / 2
    for on_outline in (points, middles):
        distance = np.hypot(*(on_outline - (50, 60)).T)
        assert np.abs(distance - radius).max() < 0.2


def test_theta_rotates_an_ellipse_in_radians_as_canvas_does(tmp_path: Path) -> None:
    shape = {**ELLIPSE, "theta": math.pi / 2}
    points = only(csv_file(tmp_path, (shape, {"c": "x"}))).points_xy
    assert points.min(axis=0) == pytest.approx([40, 20], abs=0.2)
    assert points.max(axis=0) == pytest.approx([60, 100], abs=0.2)
    # An eighth of a turn: the long axis points down to the right, as y points down.
    tilted = only(csv_file(tmp_path, ({**shape, "theta": math.pi / 4}, {"c": "x"}))).points_xy
    x, y = (tilted - (50, 60)).T
    assert np.corrcoef(x, y)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("xy", "expected"),
    [
        ([3, 50, 60, 20], math.pi * 400),
        ([4, 50, 60, 40, 10], math.pi * 400),
        ([6, 0, 0, 10, 0, 10, 10], 50),
        ([8, 5, 20, 30, 10, 55, 30, 40, 50], 50 * 40),
        ([9, 30, 60, 50, 40, 70, 60], math.pi * 400),
    ],
)
def test_via3_shapes(tmp_path: Path, xy: list[float], expected: float) -> None:
    path = write(tmp_path, via3_csv([("a.jpg", xy, {"1": "0"})], {"1": STUDENT}))
    assert area(only(path).points_xy) == pytest.approx(expected, rel=1e-9)


def test_via3_values_without_options_are_the_class(tmp_path: Path) -> None:
    rect: list[Any] = [2, 1, 1, 5, 5]
    text = via3_csv([("a.jpg", rect, {"1": "grey"})], {"1": "student"})
    assert only(write(tmp_path, text.replace("# ATTRIBUTE ", "# ATTRIBUTES "))).label == "grey"
    ticks = {**STUDENT, "type": 2}
    assert only(write(tmp_path, via3_csv([("a.jpg", rect, {"1": "1"})], {"1": ticks}))).label == ("grey")
    with pytest.raises(DataError, match=r"via\.csv:6: 'student' has 2 boxes ticked"):
        read_via(write(tmp_path, via3_csv([("a.jpg", rect, {"1": "0,1"})], {"1": ticks})))


def test_the_class_attribute_must_be_chosen_only_among_several(tmp_path: Path) -> None:
    path = csv_file(tmp_path, (RECT, {"student": "grey", "quality": {"good": True}}))
    with pytest.raises(DataError, match="several region attributes: 'student', 'quality'. Choose .* with --attribute"):
        read_via(path)
    assert only(path, attribute="student").label == "grey"
    assert only(path, attribute="quality").label == "good"
    with pytest.raises(DataError, match="no region attribute 'class'; it has: 'student', 'qual"):
        read_via(path, attribute="class")
    with pytest.raises(DataError, match=r"No region of .* has an attribute"):
        read_via(csv_file(tmp_path, (RECT, {})))


def test_a_checkbox_gives_its_only_tick(tmp_path: Path) -> None:
    assert only(csv_file(tmp_path, (RECT, {"c": {"a": False, "b": True}}))).label == "b"
    with pytest.raises(DataError, match=r"via\.csv:2: 'c' has 2 boxes ticked"):
        read_via(csv_file(tmp_path, (RECT, {"c": {"a": True, "b": True}})))
    with pytest.raises(DataError, match=r"via\.csv:2: the region has no 'c'"):
        read_via(csv_file(tmp_path, (RECT, {"c": {}})))


def test_all_broken_rows_are_listed_with_their_lines(tmp_path: Path) -> None:
    grey = {"c": "grey"}
    path = csv_file(
        tmp_path,
        (RECT, grey),
        ({"name": "point", "cx": 1, "cy": 1}, grey),
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}, grey),
        ({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}, grey),
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [4, 4, 4]}, grey),
        ({"name": "polygon", "all_points_x": [1, 2, "3 px"], "all_points_y": [1, 2, 5]}, grey),
        ({"name": "circle", "cx": 10**400, "cy": 1, "r": 3}, grey),
        ({"name": "circle", "cx": 1, "cy": 1, "r": 0}, grey),
        ({"name": "blob"}, grey),
        ({}, grey),
        (RECT, {}),
        (RECT, {"c": ""}),
        (RECT, {"c": 7}),
    )
    with path.open("a", encoding="utf-8") as file:
        file.write('a,b.jpg,1,"{}",1,0,"{}","{}"\n\na.jpg,1,"{}",1,0,"{""na","{}"\n')
        file.write('a.jpg,2,"{}",1,0,"{}","{}"\n"li\nne.jpg",2,"{}",0,0,"{}","{}"\nx,1\n')
    with pytest.raises(DataError) as caught:
        read_via(path)
    assert str(caught.value).splitlines() == [
        f"17 of 18 entries of {path} can't be used:",
        "  via.csv:3: a point is not an area; draw the outline as a polygon",
        "  via.csv:4: 3 values in all_points_x, 2 in all_points_y",
        "  via.csv:5: 2 points do not enclose an area; 3 are needed, not all on one line",
        "  via.csv:6: 3 points do not enclose an area; 3 are needed, not all on one line",
        "  via.csv:7: x: '3 px' is not a position in a photo",
        "  via.csv:8: cx: 100000000000000000...0000000000000000000 is not a position in a photo",
        "  via.csv:9: a radius is not above 0",
        "  via.csv:10: the shape 'blob' is not one that VIA draws",
        "  via.csv:11: the shape None is not one that VIA draws",
        "  via.csv:12: the region has no 'c', so no class",
        "  via.csv:13: the region has no 'c', so no class",
        "  via.csv:14: 'c' is 7, which is not the name of a class",
        "  via.csv:15: 8 columns where VIA writes 7 (a comma in the photo's name?)",
        "  via.csv:17: '{\"na' is not valid JSON",
        "  via.csv:18: 'a.jpg' is two photos, of 1 and 2 bytes; rename one",
        "  via.csv:19: 'li\\nne.jpg' is not the name of a photo",
        "  via.csv:21: 2 columns where VIA writes 7 (a comma in the photo's name?)",
    ]


def test_broken_json_regions_are_listed_by_photo_and_number(tmp_path: Path) -> None:
    photos = via_json(2)
    photos["a.jpg100"]["regions"][1]["shape_attributes"] = {"name": "line"}
    photos["ü 3.jpg300"]["regions"].append("junk")
    photos["b.jpg200"]["filename"] = 5
    with pytest.raises(DataError) as caught:
        read_via(write(tmp_path, json.dumps(photos), "via.json"))
    assert str(caught.value).splitlines()[1:] == [
        "  via.json: photo 'a.jpg', region 2: a line is not an area; draw the outline as a polygon",
        "  via.json: photo 5: 5 is not the name of a photo",
        "  via.json: photo 'ü 3.jpg', region 2: 'junk' is not valid JSON",
    ]


def test_twenty_broken_rows_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_via(csv_file(tmp_path, *[({"name": "point"}, {"c": "x"})] * 33))
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 13 more")


def test_a_polygon_beyond_the_csv_modules_field_limit_is_read(tmp_path: Path) -> None:
    n = 40_000
    shape = {"name": "polygon", "all_points_x": [*range(n)], "all_points_y": [*range(n - 1), 5]}
    assert len(only(csv_file(tmp_path, (shape, {"c": "x"}))).points_xy) == n


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not in a known annotation format"),
        ("name;x;y\na.jpg;1;2", "not in a known annotation format"),
        ("[1, 2]", "not in a known annotation format"),
        ('{"images": [], "annotations": [], "categories": []}', "not in a known annotation format"),
        ('{"a.jpg1": {"filename": "a.jpg",', "not valid JSON"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"view": {}, "metadata": {}}', "VIA 3 project"),
        ("{}", "holds no photos"),
        (HEADER, "holds no photos"),
        ('{"_via_img_metadata": []}', "not in a known annotation format"),
        ("# CSV_HEADER = metadata_id,file_list,temporal_segment_start,metadata\n", "no regions"),
        (HEADER + '\na.jpg,1,{},1,0,"' + '{""a"":' * 100_000 + '",{}', "nested too deeply"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_via(write(tmp_path, text))


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Can't read"):
        read_via(tmp_path / "none.csv")
    with pytest.raises(DataError, match="Can't read"):
        read_via(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="not UTF-8"):
        read_via(tmp_path / "photo.jpg")


def reads_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        regions = read_via(path)
    except DataError as error:
        str(error).encode("utf-8")
    else:
        assert all(np.isfinite(r.points_xy).all() for found in regions.values() for r in found)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["filename", "size", "regions", "shape_attributes", "region_attributes", "name"])
            | st.text(max_size=3),
            inner | st.sampled_from(["polygon", "rect", "circle", "ellipse"]),
            max_size=4,
        )
    ),
    max_leaves=15,
)
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    reads_or_refuses(tmp_path / "via.csv", content)
    reads_or_refuses(tmp_path / "via.csv", f"{HEADER}\n".encode() + content)


@fuzz
@given(data=st.data(), name=st.sampled_from(sorted(FLAVOURS)))
def test_any_export_with_changed_bytes(tmp_path: Path, data: st.DataObject, name: str) -> None:
    content = bytearray(FLAVOURS[name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.sampled_from([b"", b"-", b"9" * 400, b"[", b"}", b'"', b",", b"\n", b"e9"]))
        content[at : at + 1] = new
    reads_or_refuses(tmp_path / name, bytes(content))


@fuzz
@given(shape=ANY_JSON, attributes=ANY_JSON)
def test_any_json_for_a_region(tmp_path: Path, shape: Any, attributes: Any) -> None:
    region = {"shape_attributes": shape, "region_attributes": attributes}
    photo = {"a1": {"filename": "a.jpg", "size": 1, "regions": [region]}}
    reads_or_refuses(tmp_path / "via.json", json.dumps(photo).encode())
    row = ["1_a", '["a.jpg"]', "0", "[]", json.dumps(shape), json.dumps(attributes)]
    out = io.StringIO()
    csv.writer(out).writerow(row)
    table = f"# ATTRIBUTE = {json.dumps(attributes)}\n# CSV_HEADER = {VIA3_COLUMNS}\n"
    reads_or_refuses(tmp_path / "via.csv", (table + out.getvalue()).encode())


@fuzz
@given(numbers=st.lists(st.integers() | st.floats(), max_size=8), shape=st.integers(-1, 10))
def test_any_numbers_for_a_via3_shape(tmp_path: Path, numbers: list[float], shape: int) -> None:
    text = via3_csv([("a.jpg", [shape, *numbers], {"1": "0"})], {"1": STUDENT})
    reads_or_refuses(tmp_path / "via.csv", text.encode())


@fuzz
@given(entries=st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=3))
def test_any_json_for_a_file(tmp_path: Path, entries: Any) -> None:
    reads_or_refuses(tmp_path / "via.json", json.dumps(entries).encode())
    reads_or_refuses(tmp_path / "via.json", json.dumps({"_via_img_metadata": entries}).encode())
