"""Photos and polygons become a data folder with exact pixels."""

import csv
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.card import PALETTE
from seg_edge.errors import DataError, OutputError, PhotoError, SegEdgeError, UsageError
from train import contact_sheet, masks
from train.annotations.draw import draw_mask
from train.masks import make_masks
from train.via.read import Region

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).resolve().parents[3] / "shared/data"
HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
SQUARE = (2, 3, 4, 5)  # x, y, width, height: covers columns 2..6 and rows 3..8


def region(label: str, *points: tuple[float, float]) -> Region:
    return Region(label, np.array(points, np.float64), "via.csv:2")


def square(label: str, left: float, top: float, right: float, bottom: float) -> Region:
    return region(label, (left, top), (right, top), (right, bottom), (left, bottom))


def jpeg(width: int, height: int, orientation: int | None = None) -> bytes:
    """A grey JPEG whose stored top left quarter is white; the EXIF block is written by hand."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[: height // 2, : width // 2] = 255
    data = cv2.imencode(".jpg", image)[1].tobytes()
    if orientation is None:
        return data
    # TIFF: little-endian, one directory at 8 with one entry: tag 0x0112, SHORT, 1 value.
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


class Class:
    """A folder of photos and an annotation file of rectangles, filled as each test needs it."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.csv, self.out = folder / "photos", folder / "via.csv", folder / "data"
        self.photos.mkdir()
        self.rows: list[list[str]] = []

    def photo(self, name: str, *rects: tuple[str, tuple[int, ...]], content: bytes = b"") -> None:
        (self.photos / name).write_bytes(content or jpeg(32, 24))
        self.annotate(name, *rects)

    def annotate(self, name: str, *rects: tuple[str, tuple[int, ...]]) -> None:
        for number, (label, numbers) in enumerate(rects):
            keys = ("x", "y", "width", "height")
            shape = {"name": "rect", **dict(zip(keys, numbers, strict=True))}
            cells = [str(len(rects)), str(number), json.dumps(shape), json.dumps({"c": label})]
            self.rows.append([name, "1", "{}", *cells])
        if not rects:
            self.rows.append([name, "1", "{}", "0", "0", "{}", "{}"])
        with self.csv.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER.split(","), *self.rows])

    def make(self, **options: object) -> masks.MaskSummary:
        return make_masks(self.csv, self.photos, self.out, **options)  # type: ignore[arg-type]

    def refuse(self, **options: object) -> str:
        """The message of the refusal, after which the files must be unchanged."""
        before = sorted(self.csv.parent.rglob("*"))
        with pytest.raises((DataError, OutputError, UsageError)) as caught:
            self.make(**options)
        assert sorted(self.csv.parent.rglob("*")) == before
        return str(caught.value)

    def mask(self, name: str) -> np.ndarray:
        return read_image(self.out / "masks" / name)


@pytest.fixture
def cls(tmp_path: Path) -> Class:
    return Class(tmp_path)


def test_other_photos_are_background(cls: Class, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.jpg").write_bytes(jpeg(20, 10))
    cls.photo("a.jpg", ("cat", (2, 2, 4, 4)))
    summary = cls.make(other=tmp_path / "others")
    assert summary.photos == 2
    assert sorted(path.name for path in (cls.out / "images").iterdir()) == ["a.jpg", "other_a.jpg"]
    assert cls.mask("a.png").any()
    assert cls.mask("other_a.png").shape == (10, 20)
    assert not cls.mask("other_a.png").any()


def test_a_missing_folder_of_other_photos_is_refused(cls: Class, tmp_path: Path) -> None:
    cls.photo("a.jpg", ("cat", (2, 2, 4, 4)))
    with pytest.raises(SegEdgeError, match="nowhere doesn't exist"):
        cls.make(other=tmp_path / "nowhere")
    assert not cls.out.exists()


def test_a_square_fills_its_pixels_outline_included() -> None:
    expected = np.zeros((10, 12), np.uint8)
    expected[2:7, 3:9] = 1
    drawn = draw_mask([square("a", 3, 2, 8, 6)], (10, 12), ["background", "a"])
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, expected)


def test_later_regions_lie_over_earlier_ones() -> None:
    labels = ["background", "a", "b"]
    under, over = square("a", 0, 0, 5, 5), square("b", 3, 3, 8, 8)
    drawn = draw_mask([under, over], (10, 10), labels)
    assert (drawn[4, 4], drawn[1, 1], drawn[8, 8], drawn[9, 9]) == (2, 1, 2, 0)
    assert draw_mask([over, under], (10, 10), labels)[4, 4] == 1


def test_regions_are_clipped_to_the_photo_and_the_rest_is_background() -> None:
    drawn = draw_mask([square("a", -2, -1, 4.0, 1e6)], (6, 8), ["background", "a"])
    np.testing.assert_array_equal(np.unique(np.argwhere(drawn)[:, 1]), [0, 1, 2, 3, 4])
    assert drawn.sum() == 5 * 6
    assert not draw_mask([], (6, 8), ["background"]).any()


def test_points_between_pixels_go_to_the_nearest() -> None:
    drawn = draw_mask([square("a", 1.6, 1.6, 4.4, 4.4)], (8, 8), ["background", "a"])
    expected = np.zeros((8, 8), np.uint8)
    expected[2:5, 2:5] = 1
    np.testing.assert_array_equal(drawn, expected)


def test_the_data_folder(cls: Class) -> None:
    cls.photo("a.jpg", ("hoodie", SQUARE), ("grey", (4, 3, 20, 5)))
    cls.photo("b.png", content=cv2.imencode(".png", np.zeros((5, 7, 3), np.uint8))[1].tobytes())
    cls.photo("ü 3.jpg", ("hoodie", (0, 0, 31, 23)))
    (cls.photos / "extra.jpg").write_bytes(jpeg(8, 8))
    cls.photo("._a.jpg", content=b"macOS")
    summary = cls.make()
    out = summary.out
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "classes.csv",
        "contact_sheet.jpg",
        "images/a.jpg",
        "images/b.png",
        "images/ü 3.jpg",
        "labels.txt",
        "masks/a.png",
        "masks/b.png",
        "masks/ü 3.png",
    ]
    assert (out / "labels.txt").read_text("utf-8") == "background\ngrey\nhoodie\n"
    assert (out / "images/a.jpg").read_bytes() == (cls.photos / "a.jpg").read_bytes()
    expected = np.zeros((24, 32), np.uint8)
    expected[3:9, 2:7] = 2
    expected[3:9, 4:25] = 1
    np.testing.assert_array_equal(cls.mask("a.png"), expected)
    assert cls.mask("b.png").shape == (5, 7)
    assert not cls.mask("b.png").any()
    assert (cls.mask("ü 3.png") == 2).all()

    grey, hoodie = 6 * 21, 6 * 2 + 24 * 32
    background = 24 * 32 - grey - 12 + 35
    total = 2 * 24 * 32 + 35
    rows = list(csv.reader((out / "classes.csv").open(encoding="utf-8")))
    assert rows == [
        ["class", "pixels", "share", "photos", "regions"],
        ["background", str(background), f"{background / total:.6f}", "2", "0"],
        ["grey", str(grey), f"{grey / total:.6f}", "1", "1"],
        ["hoodie", str(hoodie), f"{hoodie / total:.6f}", "2", "2"],
    ]
    assert [c.name for c in summary.classes] == ["background", "grey", "hoodie"]
    assert (summary.photos, summary.unused) == (3, 1)
    assert summary.warnings == ("Fewer than 3 photos show: grey (1), hoodie (2).",)


def test_classes_keep_the_requested_order(cls: Class) -> None:
    cls.photo("a.jpg", ("a", SQUARE), ("b", (10, 10, 4, 4)))
    cls.make(classes=["b", "a"])
    assert (cls.out / "labels.txt").read_text() == "background\nb\na\n"
    assert (cls.mask("a.png")[4, 4], cls.mask("a.png")[12, 12]) == (2, 1)


def test_invalid_classes_are_refused(cls: Class) -> None:
    cls.photo("a.jpg", ("a", SQUARE), ("b", SQUARE))
    assert cls.refuse(classes=["a"]) == "Annotated, but not among --classes: b."
    for invalid in (["a", "b", "a"], [], [""], ["a", "", "b"]):
        assert "empty or repeated name" in cls.refuse(classes=invalid)
    assert "'background' can't be in --classes" in cls.refuse(classes=["a", "b", "background"])
    assert "can't be printed" in cls.refuse(classes=["a", "b", "c\u200b"])


def test_255_classes_are_one_too_many(cls: Class) -> None:
    cls.photo("a.jpg", *[(f"c{n:03}", SQUARE) for n in range(254)])
    assert len(cls.make().classes) == 255
    assert cls.mask("a.png")[4, 4] == 254
    cls.annotate("a.jpg", ("one more", SQUARE))
    assert cls.refuse(force=True).startswith("There are 255 classes; a mask holds 254.")


def test_photos_without_any_region_are_refused(cls: Class) -> None:
    cls.photo("a.jpg")
    assert cls.refuse() == "No photo has a region, so there is no class to learn."


def test_a_rotated_photo_gets_an_upright_mask(cls: Class) -> None:
    # Stored 32x24 with orientation 6: shown rotated clockwise, 24 wide and 32 high.
    cls.photo("a.jpg", ("a", (12, 0, 11, 31)), content=jpeg(32, 24, orientation=6))
    cls.make()
    expected = np.zeros((32, 24), np.uint8)
    expected[:, 12:] = 1
    np.testing.assert_array_equal(cls.mask("a.png"), expected)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_polygons_of_the_unrotated_photo_are_refused_by_name(cls: Class, orientation: int) -> None:
    cls.photo("good.jpg", ("a", SQUARE))
    for name in ("x.jpg", "y.jpg"):
        cls.photo(name, ("a", (2, 2, 29, 10)), content=jpeg(32, 24, orientation))
    lines = cls.refuse().splitlines()
    assert lines[0].startswith("The polygons fit only the unrotated photo: ")
    assert lines[1:] == [f"  {name} (upright 24x32, EXIF orientation {orientation})" for name in ("x.jpg", "y.jpg")]


def test_polygons_far_outside_are_refused_and_those_slightly_outside_clipped_and_counted(cls: Class) -> None:
    cls.photo("edge.jpg", ("a", (-2, -2, 36, 28)))
    summary = cls.make()
    assert (summary.classes[1].pixels, cls.mask("edge.png").all()) == (24 * 32, True)
    assert "Regions that reach slightly past their photo's edge and were clipped: 1." in summary.warnings
    cls.photo("over.jpg", ("a", (0, 0, 35, 5)))
    cls.photo("half.jpg", ("a", (-3, 0, 5, 5)))
    lines = cls.refuse(force=True).splitlines()
    assert lines[0].startswith("Polygons lie outside the photo: ")
    assert lines[1:] == [
        "  over.jpg (32x24; via.csv:3 reaches from 0,0 to 35,5)",
        "  half.jpg (32x24; via.csv:4 reaches from -3,0 to 2,5)",
    ]


@pytest.mark.parametrize(
    "shape",
    [{"name": "circle", "cx": 1, "cy": 12, "r": 9}, {"name": "ellipse", "cx": 30, "cy": 20, "rx": 9, "ry": 6}],
)
def test_round_regions_may_reach_beyond_the_photo(cls: Class, shape: dict[str, object]) -> None:
    cls.photo("a.jpg", ("a", SQUARE))
    cls.rows[0][5] = json.dumps(shape)
    cls.annotate("a.jpg")
    assert 0 < cls.make().classes[1].pixels < 24 * 32
    cls.rows[0][5] = json.dumps({**shape, "cx": 40})
    cls.annotate("a.jpg")
    assert cls.refuse(force=True).startswith("Polygons lie outside the photo: ")


def test_all_problems_of_the_photos_are_reported_at_once(cls: Class) -> None:
    for name in ("gone.jpg", "gone too.jpg"):
        cls.annotate(name, ("a", SQUARE))
    cls.photo("same.jpg", ("a", SQUARE))
    cls.photo("Same.png", ("a", SQUARE))
    cls.photo("junk.jpg", ("a", SQUARE), content=b"junk")
    lines = cls.refuse().splitlines()
    headings = [line for line in lines if not line.startswith("  ")]
    assert [heading.split(";")[0] for heading in headings] == [
        f"Annotated, but not in {cls.photos}",
        "Two photos would share one mask",
        "Can't be read:",
    ]
    assert lines[1:3] == ["  gone.jpg", "  gone too.jpg"]
    assert lines[4:6] == ["  same.jpg", "  Same.png"]
    assert lines[7].startswith("  junk.jpg: ")


def test_photos_may_be_named_by_path_by_url_or_in_another_case(cls: Class) -> None:
    for photo, name in (
        ("a.jpg", "C:\\class\\a.jpg"),
        ("b.jpg", "https://example.org/class%20photos/b.jpg?size=1"),
        ("c.JPG", "photos/c.jpg"),
    ):
        cls.photo(photo)
        cls.rows.pop()
        cls.annotate(name, ("a", SQUARE))
    assert cls.make().photos == 3
    assert {path.name for path in (cls.out / "images").iterdir()} == {"a.jpg", "b.jpg", "c.JPG"}
    cls.annotate("other/a.jpg", ("a", SQUARE))
    assert "have the same file name; rename one" in cls.refuse(force=True)


def test_a_hole_is_cut_out_and_an_ignored_region_does_not_count(cls: Class) -> None:
    cls.photo("a.jpg", ("a", (2, 2, 12, 12)), ("Background", (4, 4, 2, 2)), ("ignore", (8, 8, 2, 2)))
    summary, mask = cls.make(), cls.mask("a.png")
    assert [c.name for c in summary.classes] == ["background", "a"]
    assert (mask[3, 3], mask[5, 5], mask[9, 9]) == (1, 0, 255)


def test_class_names_that_differ_only_in_case_give_a_warning(cls: Class) -> None:
    cls.photo("a.jpg", ("woman", SQUARE), ("Woman", SQUARE), ("man", SQUARE))
    assert "'Woman', 'woman' are learnt as 2 classes; give them one name if they are the same." in cls.make().warnings


def test_photos_that_fail_to_decode_are_named_and_nothing_is_written(
    cls: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        cls.photo(name, ("a", SQUARE))

    def broken(path: Path) -> np.ndarray:
        if path.name == "b.jpg":
            return np.zeros((24, 32, 3), np.uint8)
        raise PhotoError(f"{path.name} is cut off.")

    monkeypatch.setattr(masks, "read_photo", broken)
    assert cls.refuse() == "Photos can't be read:\n  a.jpg is cut off.\n  c.jpg is cut off."


def test_a_data_folder_is_replaced_only_with_force_and_on_success(
    cls: Class,
) -> None:
    cls.photo("a.jpg", ("a", SQUARE))
    cls.make()
    mark = cls.out / ".DS_Store"
    mark.touch()
    assert cls.refuse() == f"{cls.out} exists; give another folder, or --force to replace it."
    cls.annotate("gone.jpg", ("a", SQUARE))
    cls.refuse(force=True)
    assert mark.exists()
    cls.photo("gone.jpg")
    assert cls.make(force=True).photos == 2
    assert not mark.exists()
    assert sorted(path.name for path in cls.out.parent.iterdir()) == ["data", "photos", "via.csv"]


def test_force_replaces_only_a_data_folder(cls: Class) -> None:
    cls.photo("a.jpg", ("a", SQUARE))
    cls.out.mkdir()
    (cls.out / "thesis.txt").write_text("years of work")
    assert "is not a data folder" in cls.refuse(force=True)
    (cls.out / "masks").mkdir()
    for name in ("labels.txt", "classes.csv"):  # without classes.csv it was made by hand
        assert "is not a data folder" in cls.refuse(force=True)
        (cls.out / name).touch()
    assert cls.refuse(force=True) == (f"{cls.out} also holds thesis.txt; move that away, or give another folder.")
    cls.out = cls.photos
    assert "holds the photos" in cls.refuse(force=True)
    cls.out = cls.csv
    assert "holds the photos or the annotations" in cls.refuse(force=True)


def test_a_folder_that_can_t_be_moved_into_place_leaves_the_old_one(
    cls: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls.photo("a.jpg", ("a", SQUARE))
    cls.make()
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert cls.refuse(force=True) == f"Can't write {cls.out}: disk full."


def test_the_sheet_shows_the_masks_in_the_legend_s_colours(cls: Class) -> None:
    grey = cv2.imencode(".png", np.full((150, 200, 3), 128, np.uint8))[1].tobytes()
    for number in range(100):
        cls.photo(f"p{number:03}.png", ("a", (20, 20, 160, 110)), content=grey)
    summary = cls.make()
    sheet = read_image(summary.sheet)
    legend, first = sheet[: contact_sheet.LEGEND_PX], sheet[contact_sheet.LEGEND_PX :]
    assert sheet.shape == (contact_sheet.LEGEND_PX + 8 * 184, 8 * 216, 3)
    red, green, blue = PALETTE[0]
    close = np.abs(legend.astype(int) - (blue, green, red)).max(axis=2) < 40
    assert close.sum() > 200
    inside = first[70:90, 90:120].reshape(-1, 3).mean(axis=0)
    expected = 0.6 * 128 + 0.4 * np.array((blue, green, red))
    assert inside == pytest.approx(expected, abs=6)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "edge"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "train/masks.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )


def test_the_command(cls: Class) -> None:
    cls.photo("a.jpg", ("grey", SQUARE))
    (cls.photos / "extra.jpg").write_bytes(jpeg(8, 8))
    done = run(cls.csv, "--photos", cls.photos, "--out", cls.out, "--classes", "hoodie, grey")
    assert done.returncode == 0, done.stderr
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[:4] == [
        ["class", "pixels", "share", "photos", "regions"],
        ["background", "738", "96.09%", "1", "0"],
        ["hoodie", "0", "0.00%", "0", "0"],
        ["grey", "30", "3.91%", "1", "1"],
    ]
    assert f"{cls.photos} without annotations, not used: 1." in done.stdout
    assert str(cls.out / "contact_sheet.jpg") in done.stdout
    assert "warning: Fewer than 3 photos show: hoodie (0), grey (1)." in done.stderr

    again = run(cls.csv, "--photos", cls.photos, "--out", cls.out)
    assert (again.returncode, again.stdout) == (1, "")
    refusal = "exists; give another folder, or --force to replace it."
    assert again.stderr == f"error: {cls.out} {refusal}\n"
    assert run(cls.csv, "--photos", cls.photos).returncode == 2
    wrong = run(cls.csv, "--photos", cls.photos, "--out", cls.out.parent / "x", "--classes", "a,a")
    assert wrong.returncode == 2
    empty = run(cls.csv, "--photos", cls.photos, "--out", cls.out.parent / "x", "--classes", ",")
    assert (empty.returncode, "empty or repeated name" in empty.stderr) == (2, True)


def test_the_command_needs_no_tensorflow() -> None:
    code = "import sys, train.masks; print(*{'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_the_cohort(tmp_path: Path) -> None:
    cohort = DATA / "cohort"
    if not cohort.is_dir():
        pytest.skip(f"the cohort is not at {cohort}")
    summary = make_masks(cohort / "via_region_data.csv", cohort / "photos", tmp_path / "data")
    assert [c.name for c in summary.classes] == ["background", "grey", "hoodie", "orange"]
    assert (summary.photos, summary.unused, summary.warnings) == (80, 0, ())
    assert [c.photos for c in summary.classes] == [80, 27, 27, 26]
    drawn = sorted((tmp_path / "data/masks").iterdir())
    assert [path.stem for path in drawn] == [f"photo_{n:03}" for n in range(1, 81)]
    for path in drawn:
        mask = read_image(path)
        assert mask.shape == (480, 640)
        assert len(np.unique(mask)) == 2  # the background and one student
        assert 0.1 < np.mean(mask > 0) < 0.5
