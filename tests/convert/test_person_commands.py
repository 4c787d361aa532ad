"""The commands in docs/person.md that made the bundled models, run at toy size, write models."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras

from seg_edge.models import bundled_models, open_model
from tests.scripts import run_script
from tests.tiny import SIGMOID_FLOAT32
from tests.train.made_up import make_class
from train.callbacks import Checkpoint

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "person.md").read_text(encoding="utf-8")
TOY = {"--size": "64", "--steps": "2", "--epochs": "1", "--holdout": "0.2"}


def commands() -> list[str]:
    """The commands in the blocks under their heading."""
    section = DOCUMENT.split("## How it was made", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.replace("\\\n", " ").splitlines() if line.startswith("python ")]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of the commands, with synthetic people, and a teacher for which bright is foreground."""
    shutil.copyfile(SIGMOID_FLOAT32, tmp_path / "selfie_segmentation.tflite")
    person = make_class(tmp_path / "person", photos=40, classes=("red",))
    (person / "labels.txt").unlink()
    rows = ["name,split"]
    for number, photo in enumerate(sorted((person / "images").iterdir())):
        name = f"{('voc', 'ccp')[number % 2]}_{photo.stem}"
        photo.rename(photo.with_name(f"{name}{photo.suffix}"))
        (person / "masks" / f"{photo.stem}.png").rename(person / "masks" / f"{name}.png")
        rows.append(f"{name},{'val' if number < 4 else 'train'}")
    (person / "index.csv").write_text("\n".join(rows) + "\n")
    for seed, name in enumerate(("faces", "street"), 1):
        make_class(tmp_path / name, photos=4, classes=("red",), seed=seed)
    (make_class(tmp_path / "selfies", photos=24, classes=("red",), seed=3) / "labels.txt").unlink()
    shutil.copytree(tmp_path / "street" / "images", tmp_path / "places_train" / "images")
    (tmp_path / "edge" / "seg_edge" / "models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def at_toy_size(line: str) -> str:
    words = shlex.split(line)
    for option, value in TOY.items():
        if option in words:
            words[words.index(option) + 1] = value
    if "lite0" in words:  # its first rows, and the matching levels of the decoder
        words[words.index("--widths") + 1] = "16,24"
        words += ["--encoder-rows", "3"]
    if words[1].endswith("quantize.py"):
        words += ["--accept-drop", "--force"] if "--force" not in words else ["--accept-drop"]
    return shlex.join(words)


def read_a_batch(model: keras.Model, batches: Any, *, validation_data: Any, callbacks: list[Any], **_: Any) -> None:
    """Replaces `Model.fit`: reads a batch and saves the untrained model."""
    assert next(iter(batches))
    assert next(iter(validation_data))
    (checkpoint,) = (callback for callback in callbacks if isinstance(callback, Checkpoint))
    model.optimizer.use_ema = False  # without training there is no average
    checkpoint.set_model(model)
    checkpoint.on_epoch_begin(0)
    checkpoint.on_epoch_end(0, dict.fromkeys(("loss", "dice", "val_loss", "val_dice"), 0.5))


def test_the_commands_make_the_models(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = commands()
    assert {re.split(r"[/.]", line)[1] for line in lines} == {
        "soft_labels",
        "from_tflite",
        "fit",
        "average",
        "quantize",
    }
    trained = set()
    for line in lines:
        encoder = "lite0" if "--encoder lite0" in line else "plain"
        with monkeypatch.context() as patch:
            # One real training of each network is enough: building its graph takes most of the time.
            if encoder in trained:
                patch.setattr(keras.Model, "fit", read_a_batch)
            if "train/fit.py" in line:
                trained.add(encoder)
            run_script(at_toy_size(line), patch)
    written = {path.stem: open_model(path) for path in (toys / "edge" / "seg_edge" / "models").iterdir()}
    assert set(written) == set(bundled_models())
    for name, file in written.items():
        assert file.card is not None
        assert file.card.name == name
        assert file.card.recipe["scenes"]


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_the_document_gives_each_bundled_models_size(name: str) -> None:
    size = len(open_model(name).content)
    assert f"| {name}.tflite | {round(size / 1000)} |" in DOCUMENT
