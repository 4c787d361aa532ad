"""The command a user types: what it prints, writes and exits with."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.card import make_classes
from seg_edge.commands import cli
from tests.tiny import GRACE_HOPPER, TWO_UINT8, bright_square, carded

Ran = tuple[int, str, str]


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(carded(TWO_UINT8, tmp_path))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    # Which one it is depends on how fast the machine is.
    monkeypatch.setattr("seg_edge.segmenter.default_photo_model", lambda threads, log: "person")

    def command(*arguments: object) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    for index in range(3):
        cv2.imwrite(str(path / f"photo{index}.png"), bright_square())
    return path


def test_a_portrait_is_segmented_by_the_bundled_model(run, tmp_path: Path) -> None:
    code, out, err = run("image", GRACE_HOPPER, "--out", tmp_path, "--labels")
    assert (code, err) == (0, "")
    assert "person" in out
    assert str(tmp_path / "grace_hopper.overlay.jpg") in out
    labels = cv2.imread(str(tmp_path / "grace_hopper.labels.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (600, 512)
    assert labels[200, 256] == 1  # between the eyes
    assert labels[450, 256] == 1  # the uniform
    assert labels[20, 490] == 0  # the sky behind her
    assert 0.3 < labels.mean() < 0.8


def test_json_is_one_documented_object_per_photo(run, folder: Path, model: str, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_text("text")
    options = ("--labels", "--polygons", "coco", "--json", "--model", model, "--out", tmp_path / "out")
    code, out, err = run("image", folder, *options)
    assert code == 1
    failure, counts = err.splitlines()
    assert "broken.jpg" in failure
    assert counts == "4 photos: 3 done, 1 failed"
    broken, *done = [json.loads(line) for line in out.splitlines()]
    assert set(broken) == {"photo", "error"}
    assert len(done) == 3
    for document in done:
        assert set(document) == {"photo", "size_wh", "classes", "outputs", "timing_ms", "model"}
        assert document["size_wh"] == [96, 64]
        assert document["classes"] == {"bright": pytest.approx(0.25, abs=0.03)}
        assert set(document["outputs"]) == {"overlay", "labels", "polygons"}
        assert all(Path(path).is_file() for path in document["outputs"].values())
        stages = {"decode", "preprocess", "inference", "postprocess", "render", "total"}
        assert set(document["timing_ms"]) == stages
        assert len(document["model"]["sha256"]) == 64


def test_a_second_run_over_a_folder_skips_its_own_pictures(run, folder: Path, model: str) -> None:
    assert run("image", folder, "--model", model)[0] == 0
    before = {path.name for path in folder.iterdir()}
    code, out, err = run("image", folder, "--model", model, "--force")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert err.splitlines() == ["left out: 3 pictures that seg-edge made", "3 photos: 3 done"]
    assert {path.name for path in folder.iterdir()} == before


def test_other_files_are_counted_by_kind(run, folder: Path, model: str) -> None:
    for name in ("notes", "LICENSE", "clip.mov"):
        (folder / name).touch()
    assert run("image", folder, "--model", model)[2].splitlines()[0] == (
        "left out: 2 files without a suffix, 1 .mov (no photos)"
    )


def test_a_picture_of_seg_edge_is_segmented_when_it_is_named(run, folder: Path, model: str) -> None:
    assert run("image", folder / "photo0.png", "--model", model)[0] == 0
    odd = (folder / "photo0.overlay.jpg").rename(folder / "dog.overlay.jpg")
    code, out, _ = run("image", f"{folder}/./{odd.name}", "--model", model)
    assert code == 0
    assert "dog.overlay.overlay.jpg" in out


def test_a_folder_with_only_earlier_results_is_a_failure(run, folder: Path, model: str) -> None:
    assert run("image", folder, "--model", model)[0] == 0
    for photo in folder.glob("*.png"):
        photo.unlink()
    code, out, err = run("image", folder, "--model", model)
    assert (code, out) == (1, "")
    assert err.splitlines() == ["left out: 3 pictures that seg-edge made", "0 photos: 0 done"]


def test_a_card_of_odd_scores_and_a_name_with_escapes(run, tmp_path: Path) -> None:
    scores = {"val": {"int8": {}, "float": 3}, "test": 3, "drop": {}}
    code, out, err = run("models", carded(TWO_UINT8, tmp_path, scores=scores, notes="\x1b[31mred"))
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    classes = make_classes(["background", "\x1b]0;title\x07"])
    code, _, err = run("models", carded(TWO_UINT8, tmp_path, classes=classes))
    assert code == 1
    assert "unprintable" in err
    assert "\x1b" not in err


def test_doctor_says_so_when_numpy_does_not_load(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "seg_edge.apps.doctor", None)
    code, _, err = run("doctor")
    assert code == 1
    assert "NumPy does not load" in err
    assert "--force-reinstall numpy" in err


@pytest.mark.parametrize("effect", ["overlay", "mask", "cutout", "blur"])
def test_every_effect(run, folder: Path, model: str, effect: str) -> None:
    code, _, err = run("image", folder / "photo0.png", "--model", model, "--effect", effect)
    assert (code, err) == (0, "")
    (written,) = folder.glob(f"photo0.{effect}.*")
    assert cv2.imread(str(written)).shape == (64, 96, 3)


def test_the_background_is_replaced(run, folder: Path, model: str, tmp_path: Path) -> None:
    beach = tmp_path / "beach.png"
    cv2.imwrite(str(beach), np.full((10, 40, 3), (200, 100, 50), np.uint8))
    options = ("--model", model, "--effect", "replace", "--background", beach)
    code, _, _ = run("image", folder / "photo0.png", *options)
    assert code == 0
    picture = cv2.imread(str(folder / "photo0.replace.jpg")).astype(int)
    assert np.abs(picture[2, 2] - (200, 100, 50)).max() < 8
    assert picture[32, 48].min() > 245


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["image"], 2, "Missing argument"),
        (["image", "x.jpg", "--effect", "sparkle"], 2, "sparkle"),
        (["image", "x.jpg", "--effect", "replace"], 2, "--background"),
        (["image", "x.jpg", "--background", "y.jpg"], 2, "--effect replace"),
        (
            ["image", "x.jpg", "--effect", "replace", "--background", "red"],
            2,
            "red is not a file or one of white, black, green",
        ),
        (["image", "x.jpg", "--threads", "0"], 2, "'--threads': it must be 1 or more."),
        (["image", "x.jpg", "--threads", "two"], 2, "'--threads': a whole number was expected."),
        (["image", "x.jpg", "--min-area", "x"], 2, "'--min-area': a number was expected."),
        (["image", "x.jpg", "--polygons", "svg"], 2, "'--polygons': 'svg' is not one of 'via', 'coco'."),
        (["image", "x.jpg", "--out", "a.tif"], 2, ".jpg, .png or .webp"),
        (["image", "-", "x.jpg"], 2, "give it alone"),
        (["image", "x.jpg", "--threads", "100000"], 2, "--threads"),
        (["image", "x.jpg", "--sparkle"], 2, "--sparkle"),
        (["image", "x.jpg", "--model", "nobody"], 1, "nobody: no such model"),
        (["image", "nobody.jpg"], 1, "nobody.jpg"),
        (["models", "nobody"], 1, "nobody: no such model"),
        (["sparkle"], 2, "sparkle"),
    ],
)
def test_wrong_usage_is_2_and_failure_is_1(run, arguments: list[str], code: int, says: str) -> None:
    got, out, err = run(*arguments)
    assert got == code
    assert says in err
    assert "Traceback" not in err
    assert out == ""


def test_an_empty_folder_is_reported(run, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    code, out, err = run("image", tmp_path / "holiday", "--json")
    assert code == 1
    assert err.startswith("error: No photos in ")
    assert len(err.splitlines()) == 1
    assert json.loads(out)["photo"] == str(tmp_path / "holiday")


def test_a_damaged_model_is_reported_in_one_line(run, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(TWO_UINT8.read_bytes()[:700])
    code, _, err = run("image", folder, "--model", broken)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "broken.tflite" in err


def test_models_lists_the_bundled_models_and_shows_a_card(run, model: str) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert "person" in out
    code, out, _ = run("models", "--json")
    assert json.loads(out)[0]["card"]["classes"][0]["name"] == "background"
    code, out, _ = run("models", "person")
    assert code == 0
    for word in ("licence", "Dice", "256x256", "sha256"):
        assert word in out
    code, out, _ = run("models", TWO_UINT8)
    assert code == 0
    assert "no card" in out


def test_doctor_prints_every_check_and_as_json(run) -> None:
    code, out, _ = run("doctor", "--json")
    findings = json.loads(out)
    assert {"interpreter", "opencv", "model"} <= {finding["check"] for finding in findings}
    assert (code == 1) == any(finding["status"] == "problem" for finding in findings)


def test_the_installed_command_runs_from_anywhere(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("seg-edge")), "image", str(GRACE_HOPPER), "--out", str(tmp_path)]
    done = subprocess.run([*command, "--model", "person"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "grace_hopper.overlay.jpg").is_file()


def piped(content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "seg_edge.commands.cli", "image", "-", *arguments]
    return subprocess.run(command, input=content, capture_output=True, timeout=60)


def test_a_photo_can_be_piped_through(model: str) -> None:
    photo = cv2.imencode(".png", bright_square())[1].tobytes()
    done = piped(photo, "--model", model)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\x89PNG")
    assert cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_UNCHANGED).shape == (64, 96, 3)
    done = piped(photo, "--model", model, "--effect", "cutout", "--format", "webp")
    assert done.stdout[8:12] == b"WEBP"
    done = piped(b"no photo", "--model", model)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"standard input is text" in done.stderr
    assert piped(photo, "--json", "--model", model).returncode == 2


def test_one_coco_document_of_a_folder(run, folder: Path, model: str, tmp_path: Path) -> None:
    (folder / "more").mkdir()
    cv2.imwrite(str(folder / "more" / "photo0.png"), bright_square())
    coco = tmp_path / "all.json"
    options = ("--model", model, "--recursive", "--out", tmp_path / "out", "--coco", coco)
    assert run("image", folder, *options)[0] == 0
    document = json.loads(coco.read_text())
    assert [image["file_name"] for image in document["images"]] == [
        "more/photo0.png",
        "photo0.png",
        "photo1.png",
        "photo2.png",
    ]
    assert (tmp_path / "out" / "more" / "photo0.overlay.jpg").is_file()
    assert [image["id"] for image in document["images"]] == [1, 2, 3, 4]
    assert [(one["id"], one["image_id"]) for one in document["annotations"]] == [(n, n) for n in (1, 2, 3, 4)]
    assert document["categories"] == [{"id": 1, "name": "bright"}]
