"""Growth curves have the form that the report relies on."""

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.growth import describe_speedup
from benchmarks.studies import scale as scale_module
from benchmarks.studies.scale import QUICK, Curve, main, make_curve, measure_scale, show
from seg_edge.errors import SegEdgeError

app = typer.Typer()
app.command()(main)


@pytest.fixture(scope="module")
def curves() -> dict[str, Curve]:
    log: list[str] = []
    measured, _ = measure_scale(quick=True, log=log.append)
    assert len(log) == len(measured)
    return {curve["name"]: curve for curve in measured}


def test_every_curve_is_measured(curves: dict[str, Curve]) -> None:
    expected = {"latency over threads", "time over number of photos", "throughput over worker processes"}
    if Path("/proc/self/status").is_file():
        expected.add("memory over photo size")
    if importlib.util.find_spec("tensorflow"):
        expected.add("latency over input size")
    assert set(curves) == expected


def test_curves_are_plain_json_in_order(curves: dict[str, Curve]) -> None:
    assert json.loads(json.dumps(curves, allow_nan=False)) == curves
    for curve in curves.values():
        assert {"name", "x", "unit_x", "y", "unit_y", "points", "fit"} == set(curve)
        assert set(curve["fit"]) == {"text", "r2"}
        x = [point["x"] for point in curve["points"]]
        assert x == sorted(set(x))
        for point in curve["points"]:
            assert 0 < point["p5"] <= point["y"] <= point["p95"]
            assert point["n"] >= 1


def test_larger_photos_need_more_memory(curves: dict[str, Curve]) -> None:
    """Times aren't checked: on a busy machine two samples may come out either way."""
    if "memory over photo size" not in curves:
        pytest.skip("no /proc/self/status")
    small, large = (point["y"] for point in curves["memory over photo size"]["points"])
    assert 30 < small < large < 1000, "MB"


def test_the_input_size_is_in_pixels(curves: dict[str, Curve]) -> None:
    if "latency over input size" not in curves:
        pytest.skip("TensorFlow isn't installed")
    points = curves["latency over input size"]["points"]
    assert [point["x"] for point in points] == [side**2 for side in QUICK.sides]


def test_the_command_prints_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = {1: [10.0], 2: [6.0]}
    text, r2 = describe_speedup(samples, "threads", 2, is_rate=False)
    curve = make_curve("latency over threads", ("threads", "threads"), ("one inference", "ms"), samples, text, r2)
    monkeypatch.setattr(scale_module, "measure_scale", lambda quick, log: ([curve], ["memory: not here"]))
    done = CliRunner().invoke(app, ["--quick", "--json", str(tmp_path / "scale.json")])
    assert done.exit_code == 0, done.output
    assert show(curve) in done.stdout
    assert "| 2 | 6.00 | 6.00–6.00 | 1 |" in done.stdout
    assert "memory: not here" in done.stdout
    document = json.loads((tmp_path / "scale.json").read_text())
    assert document["curves"] == [curve]
    assert document["machine"]["cores"] >= 1


def test_a_failed_process_gives_one_sentence() -> None:
    with pytest.raises(SegEdgeError, match="a measured process failed: no camera here"):
        scale_module._run("-c", "raise SystemExit('no camera here')")
