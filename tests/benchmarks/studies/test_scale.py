"""Laws of growth are found where they hold exactly, and the curves are what a report relies on."""

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.studies import scale as scale_module
from benchmarks.studies.scale import (
    QUICK,
    Curve,
    describe_speedup,
    line,
    main,
    make_curve,
    measure_scale,
    power_law,
    serial_share,
    show,
)
from seg_edge.errors import SegEdgeError

X = (1.0, 3.0, 10.0, 30.0, 100.0)
app = typer.Typer()
app.command()(main)


def test_a_power_law_is_found() -> None:
    factor, exponent, r2 = power_law(X, [0.5 * x**1.25 for x in X])
    assert (factor, exponent, r2) == (pytest.approx(0.5), pytest.approx(1.25), pytest.approx(1))
    assert power_law((1, 2), (3, 5))[2] is None, "any law fits two points"


def test_a_line_is_found_and_small_costs_count() -> None:
    assert line(X, [0.25 + 0.03 * x for x in X]) == (pytest.approx(0.25), pytest.approx(0.03), pytest.approx(1))
    off_by_a_tenth = [0.28, *(0.25 + 0.03 * x for x in X[1:-1]), 1.1 * (0.25 + 0.03 * X[-1])]
    assert line(X, off_by_a_tenth)[0] == pytest.approx(0.25, rel=0.15)
    assert (line((1, 2, 3, 4), (2.0, 9.0, 1.0, 6.0))[2] or 0) < 0.5, "noise lowers R²"


def test_amdahl_s_law_is_found() -> None:
    counts = (1, 2, 4, 8)
    assert serial_share(counts, [20 * (0.3 + 0.7 / n) for n in counts]) == (pytest.approx(0.3), pytest.approx(1))


@pytest.mark.parametrize("is_rate", [False, True])
@pytest.mark.parametrize(
    ("times", "cores", "text"),
    [
        (
            {1: 10, 2: 6, 4: 4, 8: 30},
            4,
            "4 threads are 2.50 times as fast as 1 (by Amdahl's law 20% of the work stays on one)",
        ),
        ({1: 10, 2: 4}, 2, "more than Amdahl's law allows"),
        ({1: 10, 2: 12}, 2, "more of them cost time"),
        ({1: 10, 2: 12}, 1, "one core: there is nothing to fit"),
    ],
)
def test_more_threads_than_cores_are_left_out_of_the_law(
    times: dict[int, float], cores: int, text: str, is_rate: bool
) -> None:
    samples = {count: [1 / time if is_rate else time] * 3 for count, time in times.items()}
    assert text in describe_speedup(samples, "threads", cores, is_rate)[0]


@pytest.fixture(scope="module")
def curves() -> dict[str, Curve]:
    log: list[str] = []
    measured, _ = measure_scale(quick=True, log=log.append)
    assert len(log) == len(measured)
    return {curve["name"]: curve for curve in measured}


def test_every_curve_is_there(curves: dict[str, Curve]) -> None:
    always = {"latency over threads", "time over number of photos", "throughput over worker processes"}
    if Path("/proc/self/status").is_file():
        always.add("memory over photo size")
    if importlib.util.find_spec("tensorflow"):
        always.add("latency over input size")
    assert set(curves) == always


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
    """Nothing is asked of times: two samples on a busy machine may come out either way."""
    if "memory over photo size" not in curves:
        pytest.skip("there is no /proc/self/status here")
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


def test_a_process_that_fails_is_one_sentence() -> None:
    with pytest.raises(SegEdgeError, match="a process that is measured failed: no camera here"):
        scale_module._run("-c", "raise SystemExit('no camera here')")
