"""Suite files: missing data are reported, and invalid files give one sentence."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.suites import DRAWN_PICTURES, SUITES, read_suites, unique
from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import candidate
from seg_edge.errors import DataError, SegEdgeError, UsageError
from seg_edge.evaluation.metrics import confusion_matrix
from seg_edge.photo.read import read_photo
from tests.tiny import FOUR_CARD, FOUR_UINT8, TWO_UINT8, bright_square, carded


@pytest.fixture
def write(tmp_path: Path):
    """Writes a suite file next to a folder `squares` with four photos in two parts and a model for them."""
    folder = tmp_path / "squares"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = ["name,split"]
    for index in range(4):
        frame = bright_square((48, 64))
        cv2.imwrite(str(folder / "images" / f"{index}.png"), frame)
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), (frame[..., 0] > 127).astype(np.uint8))
        rows.append(f"{index},{'train' if index else 'test'}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    (folder / "labels.txt").write_text("background\nbright\n")
    (tmp_path / "split.json").write_text('{"parts": {"test": ["1", "2"]}}')
    carded(TWO_UINT8, tmp_path)

    def suite(text: str) -> Path:
        (tmp_path / "suites.toml").write_text(text)
        return tmp_path / "suites.toml"

    return suite


def squares(more: str = "", models: str = '"carded.tflite"') -> str:
    return f'[[suite]]\nname = "squares"\ndata = "squares"\n{more}\nmodels = [{models}]\n'


def test_only_photos_of_the_requested_part_are_used(write, tmp_path: Path) -> None:
    def names(more: str) -> list[str]:
        (suite,), missing = read_suites(write(squares(more)), tmp_path / "work")
        assert not missing
        assert [candidate.name for candidate in suite.candidates] == ["carded"]
        return [example.name for example in suite.examples]

    assert names("") == ["0", "1", "2", "3"]
    assert names('part = "test"') == ["0"]
    assert names('part = "test"\nsplit = "split.json"') == ["1", "2"]


def test_missing_data_are_reported_and_the_rest_is_kept(write, tmp_path: Path) -> None:
    text = squares('clips = "clips"', '"carded.tflite", { name = "full", file = "full.keras", role = "full" }')
    (suite,), missing = read_suites(write(text + '[[suite]]\nname = "far"\ndata = "far"\n'), tmp_path / "work")
    assert suite.name == "squares"
    assert suite.clips == ()
    assert [sentence.split(":")[0] for sentence in missing] == ["squares", "squares", "far"]
    assert "full" in missing[0]
    assert "flicker" in missing[1]
    assert "docs/data.md" in missing[2]


def test_nothing_is_scored_without_the_training_split(write, tmp_path: Path) -> None:
    found, missing = read_suites(write(squares('part = "test"\nsplit = "gone.json"')), tmp_path / "work")
    assert not found
    assert "gone.json" in missing[0]


def test_drawn_pictures_need_no_data(write, tmp_path: Path) -> None:
    text = '[[suite]]\nname = "drawn"\ndata = "drawn"\nmodels = ["person"]\npeers = true\n'
    (suite,), missing = read_suites(write(text), tmp_path / "work")
    assert not missing
    assert suite.peers
    assert len(suite.examples) == DRAWN_PICTURES
    shares = [suite.examples[i].load_mask().mean() for i in range(DRAWN_PICTURES)]
    assert min(shares) == 0.0, "the drawn person walks out of the picture"
    assert max(shares) > 0.15
    figures = measure_accuracy("drawn", suite.candidates, suite.examples, suite.classes)["models"]["person"]
    assert figures["mean_photo_dice"] > 0.7
    assert set(figures["by_foreground_share"]) == {"0.0", "0.1", "0.2"}


def test_the_projects_own_suites_can_be_read(tmp_path: Path) -> None:
    suites, missing = read_suites(SUITES, tmp_path)
    assert suites[0].name == "drawn"
    known = {suite.name for suite in suites} | {sentence.split(":")[0] for sentence in missing}
    assert known == {"drawn", "person", "class"}


def test_agreement_is_with_the_full_model(write, tmp_path: Path) -> None:
    models = '{ name = "full", file = "carded.tflite", role = "full" }, "carded.tflite"'
    (suite,), _ = read_suites(write(squares("", models)), tmp_path / "work")
    scored = measure_accuracy("squares", suite.candidates, suite.examples, suite.classes)
    assert scored["full"] == "full"
    assert scored["models"]["carded"]["agreement"]["same_pixels"] == 1.0
    frame, segmenter = read_photo(suite.examples[0].image), suite.candidates[1].open(1)
    labels = segmenter(frame).labels
    matrix = confusion_matrix(labels, labels, 2).tolist()
    assert scored["models"]["carded"]["agreement"]["per_photo"] == [matrix] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite = 3", "suite"),
        ("other = 3", "suite"),
        (squares() + "[other]", "other"),
        (squares() + squares(), "two suites"),
        (squares("clips = 3"), "clips"),
        (squares('classes = "bright"'), "classes"),
        (squares('peers = "false"'), "peers"),
        (squares('split = "split.json"'), "part"),
        ('[[suite]]\nname = "drawn"\ndata = "squares"', "drawn"),
        ('[[suite]]\nname = "squares"\ndata = "drawn"', "drawn"),
        ('[[suite]]\nname = "../squares"\ndata = "squares"', "name"),
        (squares("", '{ name = "reference", file = "carded.tflite" }'), "reference"),
        (squares("", '{ file = "carded.tflite", role = "peer" }'), "role"),
        (squares("", '{ file = "carded.tflite", size = "256" }'), "size"),
        ("[[suite]]\nname = 'a'", "data"),
        ("[[suite]]\nname = 'a'\ndata = 'squares'\ncolour = 1", "colour"),
        ("[[suite", "TOML"),
        (squares("", "7"), "models.0"),
        (squares("", "{ name = 'x' }"), "file"),
        (squares('part = "val"'), "no photo"),
        (squares('part = "val"\nsplit = "split.json"'), "split.json"),
        (squares("", '"nosuchmodel"'), "nosuchmodel"),
        (squares('classes = ["other"]'), "other"),
    ],
)
def test_invalid_files_give_one_sentence(text: str, message: str, write, tmp_path: Path) -> None:
    with pytest.raises(SegEdgeError) as raised:
        read_suites(write(text), tmp_path / "work")
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_models_with_other_classes_are_refused(write, tmp_path: Path) -> None:
    path = write(squares())
    carded(FOUR_UINT8, tmp_path, FOUR_CARD)
    with pytest.raises(DataError, match="dark, red"):
        read_suites(path, tmp_path / "work")


def test_a_model_in_two_suites_is_measured_once(tmp_path: Path) -> None:
    first, namesake, second = candidate(TWO_UINT8, "a"), candidate(FOUR_UINT8, "a"), candidate(FOUR_UINT8, "b")
    assert unique([first, second, first]) == [first, second]
    with pytest.raises(UsageError, match="called 'a'"):
        unique([first, namesake])
