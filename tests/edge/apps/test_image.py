"""Photos through a Segmenter in order, in constant memory, failures apart."""

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from seg_edge import Segmentation, Segmenter
from seg_edge.apps import image as app
from seg_edge.apps.image import segment_photos
from seg_edge.apps.image_jobs import ImageOptions, PhotoResult, plan_jobs
from seg_edge.apps.image_outputs import OutputPath, choose_output
from seg_edge.effects import EffectSettings
from seg_edge.errors import UsageError
from seg_edge.photo.find import FoundPhotos
from tests import tiny
from tests.tiny import TWO_UINT8, bright_square, carded


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter(carded(TWO_UINT8, tmp_path), threads=1)


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path


def options(folder: Path | None = None, effect: str = "overlay", **others: object) -> ImageOptions:
    return ImageOptions(EffectSettings(effect), out=OutputPath(folder), **others)  # type: ignore[arg-type]


def segment(photos: Sequence[Path], segmenter: Segmenter, options: ImageOptions) -> Iterator[PhotoResult]:
    # Found in a folder, so that none counts as named by hand.
    found = FoundPhotos(list(photos), below={photo: Path() for photo in photos})
    return segment_photos(plan_jobs(found, options), segmenter, options)


def test_results_have_the_photos_size(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "in" / "square.png", bright_square((64, 96)))
    (result,) = segment([photo], segmenter, options(tmp_path / "new" / "out", "cutout", labels=True))
    assert result.error == ""
    assert result.size_wh == (96, 64)
    assert result.areas["bright"] == pytest.approx(0.25, abs=0.03)
    assert {kind: path.name for kind, path in result.outputs.items()} == {
        "cutout": "square.cutout.png",
        "labels": "square.labels.png",
    }
    labels = cv2.imread(str(result.outputs["labels"]), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (64, 96)
    assert labels.dtype == np.uint8
    assert labels.mean() == pytest.approx(result.areas["bright"])
    assert cv2.imread(str(result.outputs["cutout"]), cv2.IMREAD_UNCHANGED).shape == (64, 96, 4)
    stages = ("decode", "preprocess", "inference", "postprocess", "render")
    assert result.timing_ms["total"] == pytest.approx(sum(result.timing_ms[stage] for stage in stages))


def test_a_failure_concerns_one_photo_and_order_is_kept(segmenter: Segmenter, tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{index}.png", bright_square()) for index in range(6)]
    photos[1].write_text("not a photo")
    photos[4].unlink()
    results = list(segment(photos, segmenter, options(tmp_path / "out")))
    assert [result.photo for result in results] == photos
    assert [bool(result.error) for result in results] == [False, True, False, False, True, False]
    assert "1.png" in results[1].error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{i}.overlay.jpg" for i in (0, 2, 3, 5)]


def test_results_are_not_replaced_unless_forced(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", bright_square())
    earlier = tmp_path / "a.overlay.jpg"
    earlier.write_bytes(b"precious")
    (result,) = segment([photo], segmenter, ImageOptions())
    assert "--force" in result.error
    assert earlier.read_bytes() == b"precious"
    (result,) = segment([photo], segmenter, ImageOptions(force=True))
    assert result.error == ""
    assert cv2.imread(str(earlier)).shape == (64, 96, 3)


def test_photos_with_the_same_name_keep_all_their_results(segmenter: Segmenter, tmp_path: Path) -> None:
    names = ["one/a.png", "one/a.jpg", "one/b.png", "two/a.png"]
    photos = [save(tmp_path / name, bright_square()) for name in names]
    results = list(segment(photos, segmenter, options(tmp_path / "out")))
    assert [result.error for result in results] == [""] * 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.jpg.overlay.jpg",
        "a.png.2.overlay.jpg",
        "a.png.overlay.jpg",
        "b.overlay.jpg",
    ]


def test_results_of_an_earlier_run_are_recognised_by_their_content(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", bright_square())
    own = save(tmp_path / "b.overlay.jpg", bright_square())
    for picture_format, effect in (("jpeg", "overlay"), ("png", "cutout"), ("webp", "blur"), ("webp", "cutout")):
        wanted = options(None, effect, picture_format=picture_format, labels=True, force=True)
        (result,) = segment([photo], segmenter, wanted)
        assert result.error == ""
        picture = result.outputs[effect]
        renamed = picture.rename(tmp_path / f"renamed{picture.suffix}")
        again = list(
            segment([renamed, result.outputs["labels"], own], segmenter, options(tmp_path / "out", force=True))
        )
        assert [bool(one.skipped) for one in again] == [True, True, False]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.overlay.overlay.jpg"]


def test_a_result_named_by_hand_is_segmented(segmenter: Segmenter, tmp_path: Path) -> None:
    (result,) = segment([save(tmp_path / "a.png", bright_square())], segmenter, options())
    found = FoundPhotos([result.outputs["overlay"]])
    (again,) = segment_photos(plan_jobs(found, options()), segmenter, options())
    assert (again.error, again.skipped) == ("", "")


def test_photos_with_results_can_be_skipped(segmenter: Segmenter, tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{name}.png", bright_square()) for name in "ab"]
    list(segment(photos[:1], segmenter, options()))
    before = (tmp_path / "a.overlay.jpg").stat().st_mtime_ns
    first, second = segment(photos, segmenter, options(skip_existing=True))
    assert (bool(first.skipped), second.skipped, second.error) == (True, "", "")
    assert (tmp_path / "a.overlay.jpg").stat().st_mtime_ns == before
    # One of two results is not all of them.
    first, _ = segment(photos, segmenter, options(skip_existing=True, labels=True))
    assert first.skipped == ""
    assert (tmp_path / "a.labels.png").is_file()


def test_a_result_never_replaces_another_photo(segmenter: Segmenter, tmp_path: Path) -> None:
    photos = [save(tmp_path / name, bright_square()) for name in ("a.png", "a.overlay.jpg")]
    before = photos[1].read_bytes()
    first, second = segment(photos, segmenter, options(force=True))
    assert "would replace the photo" in first.error
    assert second.error == ""
    assert photos[1].read_bytes() == before


def test_the_photo_s_own_transparency_is_kept(segmenter: Segmenter, tmp_path: Path) -> None:
    frame = bright_square((64, 96))
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, :48] = 0  # the left half of the bright square is cut away already
    alpha[:32, 48:] = 200
    photo = save(tmp_path / "a.png", np.dstack([frame, alpha]))
    (result,) = segment([photo], segmenter, options(None, "cutout", labels=True))
    cutout = cv2.imread(str(result.outputs["cutout"]), cv2.IMREAD_UNCHANGED)
    assert (cutout[..., 3] <= alpha).all()
    assert not cutout[:, :48].any()
    assert cutout[30, 52].tolist() == [*frame[30, 52], 200]
    assert cutout[34, 52].tolist() == [*frame[34, 52], 255]
    assert not cv2.imread(str(result.outputs["labels"]), cv2.IMREAD_UNCHANGED)[:, :48].any()
    blue = ImageOptions(EffectSettings("replace", (0, 0, 255)), picture_format="png")
    (result,) = segment([photo], segmenter, blue)
    replaced = cv2.imread(str(result.outputs["replace"]))
    assert (replaced[:, :48] == (255, 0, 0)).all()
    assert replaced[30, 52] == pytest.approx(frame[30, 52] * (200 / 255) + np.array([55, 0, 0]), abs=1)


@pytest.mark.parametrize("length", [238, 251])
@pytest.mark.parametrize("letter", ["c", "ä"])
def test_names_of_up_to_255_bytes_work(segmenter: Segmenter, tmp_path: Path, length: int, letter: str) -> None:
    stem = letter * (length // len(letter.encode()))
    first, second = (save(tmp_path / f"{stem[:-1]}{end}.png", bright_square()) for end in "12")
    results = list(segment([first, second], segmenter, options(labels=True)))
    assert [result.error for result in results] == ["", ""]
    outputs = [path.name for result in results for path in result.outputs.values()]
    assert len(set(outputs)) == 4
    assert all(len(os.fsencode(name)) <= 255 and (tmp_path / name).is_file() for name in outputs)


def test_metadata_is_kept_on_request_but_never_location(segmenter: Segmenter, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x010E], exif[0x0110], exif[0x0132], exif[0x0112] = "at home", "Phone 7", "2026:01:02 03:04:05", 6
    exif.get_ifd(0x8769).update({0x9003: "2026:01:02 03:04:05", 0xA431: "serial", 0x927C: b"maker's note"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 1.0, 2.0)})
    photo = tmp_path / "a.jpg"
    image.fromarray(bright_square((64, 96))[..., ::-1]).save(photo, exif=exif)
    for picture_format, effect in (("jpeg", "blur"), ("png", "blur"), ("webp", "cutout")):
        (plain,) = segment([photo], segmenter, options(None, effect, picture_format=picture_format, force=True))
        assert dict(image.open(plain.outputs[effect]).getexif()) == {}
        wanted = options(None, effect, picture_format=picture_format, force=True, keep_metadata=True)
        (result,) = segment([photo], segmenter, wanted)
        picture = image.open(result.outputs[effect])
        assert picture.size == (64, 96)  # turned upright, and not a second time by the reader
        kept = picture.getexif()
        assert [kept.get(tag) for tag in (0x010E, 0x0110, 0x0132, 0x0112)] == [
            *(exif[t] for t in (0x010E, 0x0110, 0x0132)),
            None,
        ]
        assert dict(kept.get_ifd(0x8769)) == {0x9003: "2026:01:02 03:04:05"}
        assert dict(kept.get_ifd(0x8825)) == {}


def test_photos_in_progress_stay_within_their_memory(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [save(tmp_path / f"{index}.png", np.full((500, 400, 3), 90, np.uint8)) for index in range(6)]
    one = 500 * 400 * app.OTHER_BYTES + photos[0].stat().st_size
    inside, most, lock = 0, 0, threading.Lock()
    load = app._load

    def counted(job: app.PhotoJob) -> object:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        return load(job)

    write = app._write_all

    def leaving(*arguments: object) -> None:
        nonlocal inside
        write(*arguments)  # type: ignore[arg-type]
        with lock:
            inside -= 1

    monkeypatch.setattr(app, "_load", counted)
    monkeypatch.setattr(app, "_write_all", leaving)
    for allowed, expected in ((1.5, 1), (2.5, 2)):
        most = 0
        results = list(segment(photos, segmenter, options(force=True, memory_bytes=int(one * allowed))))
        assert [result.error for result in results] == [""] * 6
        assert most <= expected
    (result,) = segment(photos[:1], segmenter, options(force=True, memory_bytes=one // 2))
    assert "raise --memory" in result.error


def test_a_background_s_memory_is_counted(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", np.full((500, 400, 3), 90, np.uint8))
    background = np.zeros((1000, 1000, 3), np.uint8)
    needed = 500 * 400 * (app.OTHER_BYTES + app.BACKGROUND_BYTES) + photo.stat().st_size + background.nbytes
    settings = EffectSettings("replace", background)
    for allowed, refused in ((needed - 1, True), (needed, False)):
        (result,) = segment([photo], segmenter, ImageOptions(settings, force=True, memory_bytes=allowed))
        assert ("raise --memory" in result.error) is refused


PEAK = """
import sys
from pathlib import Path
from seg_edge import Segmenter
from seg_edge.apps.image import segment_photos
from seg_edge.apps.image_jobs import ImageOptions, plan_jobs
from seg_edge.apps.image_outputs import OutputPath
from seg_edge.effects import EffectSettings
from seg_edge.photo.find import FoundPhotos
from seg_edge.system.memory import peak_mb

segmenter = Segmenter("person-fast", 1)
for effect in ("overlay", "cutout", "blur"):
    options = ImageOptions(EffectSettings(effect), out=OutputPath(Path("out")), force=True)
    (result,) = segment_photos(plan_jobs(FoundPhotos([Path(sys.argv[1])]), options), segmenter, options)
    assert not result.error, result.error
print(peak_mb())
"""


def test_a_photo_takes_at_most_seven_bytes_a_pixel(tmp_path: Path) -> None:
    """Why 200 megapixels need 1.4 GB: the slope from 12 to 36 megapixels, for photos that must be turned."""
    for name, (height, width) in {"small": (4000, 3000), "large": (8000, 4500)}.items():
        exif = Image.Exif()
        exif[0x0112] = 6
        picture = cv2.resize(tiny.noise((40, 30)), (width, height))
        Image.fromarray(picture).save(tmp_path / f"{name}.jpg", exif=exif)
    peaks = []
    for name in ("small.jpg", "large.jpg"):  # each in its own process, as freed memory is fragmented
        command = [sys.executable, "-c", PEAK, name]
        peaks.append(float(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout))
    small, large = peaks
    assert 3 < (large - small) * 1e6 / (8000 * 4500 - 4000 * 3000) < app.JPEG_BYTES


@pytest.mark.parametrize(
    ("out", "several", "expected"),
    [
        (None, True, OutputPath()),
        ("folder", True, OutputPath(folder=Path("folder"))),
        ("a.png/", False, OutputPath(folder=Path("a.png"))),
        ("2024.12", False, OutputPath(folder=Path("2024.12"))),
        ("a.PNG", False, OutputPath(file=Path("a.PNG"))),
        ("-", False, OutputPath(file=Path("-"))),
    ],
)
def test_out_is_a_file_or_a_folder(
    out: str | None, several: bool, expected: OutputPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_output(out, several) == expected


def test_a_file_as_out_is_for_one_photo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one file"):
        choose_output("a.png", several=True)
    with pytest.raises(UsageError, match=r"\.png or \.webp"):
        choose_output("a.tif", several=False)
    (tmp_path / "a.png").mkdir()
    assert choose_output(str(tmp_path / "a.png"), several=True).folder == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"effect": "cutout", "picture_format": "jpeg"}, "transparent"),
        ({"force": True, "skip_existing": True}, "one of the two"),
    ],
)
def test_contradictory_options_are_refused(wanted: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(None, **wanted)


def test_a_picture_too_long_for_its_format_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "wide.png", np.zeros((2, 66_000, 3), np.uint8))
    for picture_format, limit in (("jpeg", "65500"), ("webp", "16383")):
        wanted = options(None, "blur", picture_format=picture_format)
        (result,) = segment([photo], segmenter, wanted)
        assert limit in result.error
        assert "66000x2" in result.error
    (result,) = segment([photo], segmenter, options(None, "blur", picture_format="png"))
    assert result.error == ""


def test_an_unwritable_folder_leaves_nothing_behind(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", bright_square())
    occupied = tmp_path / "file"
    occupied.write_text("a file where a folder is wanted")
    (result,) = segment([photo], segmenter, options(occupied / "out"))
    assert "can't be written" in result.error
    assert not list(tmp_path.glob("**/.*.tmp"))


def test_a_frame_that_can_t_be_segmented_fails_only_its_photo(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [bright_square((40, 60)), np.full((40, 60, 3), 200, np.uint8), bright_square((42, 60))]
    photos = [save(tmp_path / f"{index}.png", picture) for index, picture in enumerate(pictures)]
    run = Segmenter.__call__

    def fails_once(self: Segmenter, frame: np.ndarray, small: np.ndarray | None = None) -> Segmentation:
        if frame.mean() > 100:
            raise cv2.error("out of luck")
        return run(self, frame, small)

    monkeypatch.setattr(Segmenter, "__call__", fails_once)
    errors = [result.error for result in segment(photos, segmenter, ImageOptions())]
    assert errors[0] == errors[2] == ""
    assert errors[1] == f"{photos[1]}: out of luck"


def test_memory_does_not_grow_with_the_number_of_photos(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", np.full((600, 800, 3), 200, np.uint8))
    frame_bytes = 600 * 800 * 3

    def peak(count: int) -> int:
        copies = []
        for index in range(count):
            copy = tmp_path / f"{count}_{index}.png"
            copy.write_bytes(photo.read_bytes())
            copies.append(copy)
        tracemalloc.start()
        for result in segment(copies, segmenter, options(tmp_path / str(count))):
            assert result.error == ""
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(4)
    # If photos were held, 45 more would be 45 more frames; what the threads hold at one moment differs by a few.
    assert peak(60) < peak(15) + 8 * frame_bytes
