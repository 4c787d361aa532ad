"""A trained model is pruned to its budget, and its origin is recorded next to it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import typer
from typer.testing import CliRunner, Result

from convert.prune import main
from convert.pruning import prune as pruning
from convert.pruning.budget import within_ms
from convert.pruning.channels import find_channels
from convert.pruning.cost import MACS_PER_VALUE, layer_costs, mmac, parameters, work
from convert.pruning.narrow import narrow
from convert.pruning.plan import Limits, choose, least_cost
from convert.pruning.table import ms_by_layer, table
from seg_edge.errors import ModelError
from tests.convert.pruning.test_channels import separable, shake, small
from train.keras_model import load_keras
from train.unet import unet

Trained = tuple[Path, Path]
app = typer.Typer()
app.command()(main)


def run(trained: Trained, out: Path, *more: str) -> Result:
    data, source = trained
    arguments = [str(source / "model.keras"), "--data", str(data), "--out", str(out), "--no-times", *more]
    return CliRunner().invoke(app, arguments)


def wide() -> keras.Model:
    return shake(unet((32, 32), 3, (16, 24, 32), stem_stride=2, decoder="add"))


@pytest.mark.parametrize(("unit", "limits"), [("params", Limits(3, 4)), ("mmac", Limits(4, 1)), ("work", Limits(4, 1))])
@pytest.mark.parametrize(
    "build", [wide, lambda: small("concatenate", 1, (8, 12, 16)), lambda: shake(separable((9, 14)))]
)
def test_the_budget_is_met_and_used(build: object, limits: Limits, unit: str) -> None:
    model = build()  # type: ignore[operator]
    channels = find_channels(model)
    cost = {"params": parameters, "mmac": mmac, "work": work}[unit]
    scores = np.random.default_rng(0).random(len(channels.groups))
    least = least_cost(model, channels, unit, limits)
    budget = least + 0.4 * (cost(model) - least)
    keep = choose(model, channels, scores, "random", budget=budget, unit=unit, limits=limits)
    narrowed = narrow(model, keep, channels)
    assert cost(narrowed) <= budget
    for numbers in channels.by_layers().values():
        kept = keep[numbers].sum()
        assert kept == len(numbers) or (kept >= limits.minimum and kept % limits.multiple == 0)
        if 0 < kept < len(numbers):  # the best are kept
            assert scores[numbers][keep[numbers]].min() >= scores[numbers][~keep[numbers]].max()
    if limits.multiple == 1:
        shares = [keep[n].mean() for n in channels.by_layers().values() if keep[n].sum() > limits.minimum]
        assert max(shares) - min(shares) < 0.15


def test_work_also_counts_written_values() -> None:
    model = unet((32, 32), 3, (16,), stem_stride=2)
    values = 16 * 16 * (16 + 16 + 3)  # two convolutions and the logits, at half the input's size
    assert work(model) - mmac(model) == pytest.approx(MACS_PER_VALUE * values / 1e6)


def test_layers_that_do_not_match_keep_all_channels() -> None:
    model = wide()
    channels = find_channels(model)
    limits = Limits(only="^down1_a")
    least = least_cost(model, channels, "params", limits)
    keep = choose(model, channels, np.ones(len(channels.groups)), "taylor", budget=least, unit="params", limits=limits)
    kept = {names: keep[numbers].mean() for names, numbers in channels.by_layers().items()}
    assert kept.pop(("down1_a_conv",)) < 1
    assert set(kept.values()) == {1.0}


def test_a_budget_already_met_removes_nothing() -> None:
    model = wide()
    channels = find_channels(model)
    scores = np.ones(len(channels.groups))
    assert choose(model, channels, scores, "taylor", budget=mmac(model), unit="mmac").all()


def test_an_impossible_budget_is_refused_with_the_minimum() -> None:
    model = wide()
    channels = find_channels(model)
    with pytest.raises(ModelError, match="can't be met: with at least 4 channels") as caught:
        choose(model, channels, np.ones(len(channels.groups)), "taylor", budget=100, unit="params")
    least = least_cost(model, channels, "params", Limits())
    assert f"{least:,.6g}" in str(caught.value)
    assert choose(model, channels, np.ones(len(channels.groups)), "taylor", budget=least, unit="params").any()
    with pytest.raises(ModelError, match="no finite score"):
        choose(model, channels, np.full(len(channels.groups), np.nan), "taylor", budget=1e6, unit="params")


def test_a_time_budget_gives_the_largest_fast_enough_model() -> None:
    model = wide()
    channels = find_channels(model)

    def at_mmac(budget: float) -> keras.Model:
        scores = np.arange(len(channels.groups), dtype=float)
        return narrow(model, choose(model, channels, scores, "taylor", budget=budget, unit="mmac"), channels)

    low, high = least_cost(model, channels, "mmac", Limits()), mmac(model)
    limit = (low + high) / 2
    pruned, ms = within_ms(limit, (low, high), at_mmac, mmac, lambda line: None)
    assert 0.9 * limit < mmac(pruned) == ms <= limit
    assert within_ms(2 * high, (low, high), at_mmac, mmac, lambda line: None)[1] == high
    with pytest.raises(ModelError, match="ms can't be met"):
        within_ms(low / 2, (low, high), at_mmac, mmac, lambda line: None)


def test_the_table_shows_every_convolution_and_its_time() -> None:
    before = unet((32, 32), 3, (4, 6))
    keep = np.ones(len(find_channels(before).groups), bool)
    keep[0] = False
    after = narrow(before, keep)
    names = "functional_1/unet_1/{0}_relu_1/Relu;functional_1/unet_1/{0}_conv_1/convolution"
    times = [
        ("CONV_2D", names.format("down0_a"), 2.0),
        ("MAX_POOL_2D", "functional_1/unet_1/down1_pool_1/MaxPool2d", 1.0),
        ("TRANSPOSE_CONV", "functional_1_1/unet_1/up0_transpose_1/conv_transpose11", 4.0),
        ("CONV_2D", "StatefulPartitionedCall_1:01", 3.0),
    ]
    layer_ms = ms_by_layer(times, after)
    assert layer_ms == {"down0_a_conv": 2.0, "": 1.0, "up0_transpose": 4.0, "logits": 3.0}
    text = table(before, after, layer_ms)
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert {cost.name for cost in layer_costs(after) if cost.macs} <= set(rows)
    assert "4 → 3" in rows["down0_a_conv"]
    assert rows["up0_transpose"].endswith("40.0%")
    assert rows["everything"].endswith("10.0%")
    assert f"{parameters(before):,} → {parameters(after):,}" in text


def test_the_command_prunes_and_records_how(trained: Trained, tmp_path: Path) -> None:
    _, source = trained
    before, out = load_keras(source / "model.keras"), tmp_path / "run"
    budget = mmac(before) / 2
    done = run(trained, out, "--budget-mmac", str(budget), "--size", "32", "--criterion", "taylor", "--photos", "6")
    assert done.exit_code == 0, done.output
    model = load_keras(out / "model.keras")
    assert mmac(model) <= budget
    assert model.input_shape == (None, 32, 32, 3)
    record = json.loads((out / "run.json").read_text())
    parent = json.loads((source / "run.json").read_text())
    assert record["parent"]["sha256"] == hashlib.sha256((source / "model.keras").read_bytes()).hexdigest()
    assert record["recipe"] == parent["recipe"] == record["parent"]["recipe"]
    assert record["split"] == parent["split"]
    assert str(source) not in json.dumps(record)
    assert record["pruning"]["criterion"] == "taylor"
    assert record["pruning"]["channels"]["down0_a_conv"][0] == 8
    assert record["pruning"]["mmac"]["after"] == mmac(model)
    assert (out / "split.json").read_bytes() == (source / "split.json").read_bytes()
    assert "down0_a_conv" in done.output


def test_pruning_in_steps_resumes_after_an_interruption(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = trained
    before, out = load_keras(source / "model.keras"), tmp_path / "run"
    goal = parameters(before) // 4
    more = ["--budget-params", str(goal), "--criterion", "random", "--steps", "2", "--epochs", "1", "--batch", "8"]
    with monkeypatch.context() as patched:

        def interrupted(*_: object, **__: object) -> None:
            raise OSError("power failure")

        patched.setattr(pruning, "train_model", interrupted)
        assert run(trained, out, *more).exit_code == 1
    begun = (out / "step_1" / "pruned.keras").read_bytes()
    assert "--resume continues" in run(trained, out, *more).stderr
    done = run(trained, out, *more, "--resume")
    assert done.exit_code == 0, done.output
    assert (out / "step_1" / "pruned.keras").read_bytes() == begun
    middle, model = load_keras(out / "step_1" / "pruned.keras"), load_keras(out / "model.keras")
    assert parameters(before) / 2.3 < parameters(middle) <= parameters(before) / 2
    assert parameters(model) <= goal
    record = json.loads((out / "run.json").read_text())
    assert record["pruning"]["training"]["epochs"] == 1
    assert record["scores"]["val_dice"] > 0
    refused = run(trained, out, *more)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr


def test_a_result_is_replaced_only_with_force(trained: Trained, tmp_path: Path) -> None:
    more = ["--budget-params", "4000", "--criterion", "random"]
    assert run(trained, tmp_path, *more).exit_code == 0
    before = (tmp_path / "model.keras").read_bytes()
    refused = run(trained, tmp_path, *more, "--seed", "1")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert (tmp_path / "model.keras").read_bytes() == before
    assert run(trained, tmp_path, *more, "--seed", "1", "--force").exit_code == 0
    assert json.loads((tmp_path / "run.json").read_text())["pruning"]["seed"] == 1


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--budget-params", "10"], 1, "can't be met"),
        (["--budget-mmac", "1", "--size", "50"], 1, "50x50 does not fit"),
        (["--budget-mmac", "1", "--budget-ms", "1"], 2, "exactly one of --budget-params"),
        ([], 2, "exactly one of --budget-params"),
        (["--budget-mmac", "1", "--criterion", "size"], 2, "taylor"),
    ],
)
def test_invalid_options_are_refused_in_one_sentence(
    trained: Trained, tmp_path: Path, more: list[str], code: int, message: str
) -> None:
    done = run(trained, tmp_path / "run", "--photos", "2", *more)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "run" / "model.keras").exists()


def test_the_models_own_folder_is_never_written_to(trained: Trained) -> None:
    _, source = trained
    content = (source / "model.keras").read_bytes()
    done = run(trained, source, "--budget-params", "4000", "--force")
    assert done.exit_code == 1
    assert "another --out" in done.stderr
    assert (source / "model.keras").read_bytes() == content
