"""Laws of growth are found exactly where they hold exactly, and the curves are what a report relies on."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import scale as scale_module
from benchmarks.growth import Curve, amdahl, fit_workers, linear, make_curve, make_point, power, table, xy
from benchmarks.scale import QUICK, main, measure_scale
from seg_edge.errors import SegEdgeError

X = (1.0, 3.0, 10.0, 30.0, 100.0)
app = typer.Typer()
app.command()(main)


def test_a_power_law_is_found() -> None:
    fit = power(X, [0.5 * x**1.25 for x in X])
    assert (fit.kind, fit.points) == ("power", 5)
    assert fit["exponent"] == pytest.approx(1.25)
    assert fit["factor"] == pytest.approx(0.5)
    assert fit["doubling"] == pytest.approx(2**1.25)
    assert fit["exponent_se"] == pytest.approx(0, abs=1e-9)
    assert fit.r2 == pytest.approx(1)


def test_the_standard_error_covers_the_exponent() -> None:
    random, covered = np.random.default_rng(0), 0
    x = np.geomspace(1, 100, 30)
    for _ in range(200):
        fit = power(list(x), list(x**0.8 * np.exp(random.normal(0, 0.1, x.size))))
        covered += abs(fit["exponent"] - 0.8) < fit["exponent_se"]
    assert 110 < covered < 165, "two of three, as one standard error should"


def test_a_line_is_found_and_small_costs_count() -> None:
    fit = linear(X, [0.25 + 0.03 * x for x in X])
    assert fit["fixed"] == pytest.approx(0.25)
    assert fit["each"] == pytest.approx(0.03)
    assert fit.r2 == pytest.approx(1)
    off_by_a_tenth = [0.28, *(0.25 + 0.03 * x for x in X[1:-1]), 1.1 * (0.25 + 0.03 * X[-1])]
    assert linear(X, off_by_a_tenth)["fixed"] == pytest.approx(0.25, rel=0.15)


@pytest.mark.parametrize("is_rate", [False, True])
def test_amdahl_s_law_is_found(is_rate: bool) -> None:
    counts = (1, 2, 4, 8)
    times = [20 * (0.3 + 0.7 / n) for n in counts]
    fit = amdahl(counts, [1 / time for time in times] if is_rate else times, is_rate=is_rate)
    assert fit["serial"] == pytest.approx(0.3)
    assert fit["one"] == pytest.approx(1 / 20 if is_rate else 20)
    assert fit.r2 == pytest.approx(1)


def test_what_fits_anything_is_said() -> None:
    fit = power((1, 2), (3, 5))
    assert fit.r2 is None
    assert fit.values["exponent_se"] is None
    with pytest.raises(KeyError):
        fit["exponent_se"]


def test_noise_lowers_r2() -> None:
    assert (linear((1, 2, 3, 4), (2.0, 9.0, 1.0, 6.0)).r2 or 0) < 0.5


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [((1, 1), (1, 2), "two points or more"), ((1,), (1,), "two points"), ((1, 2), (0, 1), "above 0")],
)
def test_what_has_no_growth_is_refused(x: tuple[float, ...], y: tuple[float, ...], says: str) -> None:
    for law in (power, linear, amdahl):
        with pytest.raises(SegEdgeError, match=says):
            law(x, y)


def points(values: dict[int, float], processors: int) -> list[dict[str, object]]:
    return [make_point(n, [value] * 3, oversubscribed=n > processors) for n, value in values.items()]


@pytest.mark.parametrize(
    ("values", "processors", "says"),
    [
        (
            {1: 10, 2: 6, 4: 4, 8: 30},
            4,
            "4 threads are 2.50 times as fast as 1 (by Amdahl's law 20% of the work stays on one)",
        ),
        ({1: 10, 2: 6, 4: 30}, 2, "any law fits two points"),
        ({1: 10, 2: 4}, 2, "more than Amdahl's law allows"),
        ({1: 10, 2: 12}, 2, "more of them only cost time"),
        ({1: 10, 2: 12}, 1, "one processor: there is nothing to fit"),
    ],
)
def test_more_threads_than_cores_are_left_out_of_the_law(values: dict[int, float], processors: int, says: str) -> None:
    fit = fit_workers(points(values, processors), "threads", is_rate=False)
    assert says in fit["text"]
    assert fit["points"] == sum(n <= processors for n in values)


def test_the_table_marks_them() -> None:
    marked = points({1: 10, 2: 6, 4: 30}, 2)
    fit = fit_workers(marked, "threads", is_rate=False)
    lines = table(make_curve("latency", ("threads", "threads"), ("one inference", "ms"), marked, fit))
    assert ["oversubscribed" in line for line in lines] == [False, False, False, False, True, False]
    assert lines[-1].strip() == fit["text"]


@pytest.fixture(scope="module")
def curves() -> dict[str, Curve]:
    said: list[str] = []
    measured = {curve["name"]: curve for curve in measure_scale(quick=True, log=said.append)}
    assert len(said) >= len(measured)
    return measured


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
        assert {"kind", "r2", "text", "points"} <= set(curve["fit"])
        x = [point["x"] for point in curve["points"]]
        assert x == sorted(set(x))
        for point in curve["points"]:
            assert 0 < point["p5"] <= point["y"] <= point["p95"]
            assert point["n"] >= 1


def test_larger_photos_need_more_memory(curves: dict[str, Curve]) -> None:
    """Of times nothing is asked: two samples on a busy machine may lie either way."""
    if "memory over photo size" not in curves:
        pytest.skip("there is no /proc/self/status here")
    _, y = xy(curves["memory over photo size"]["points"])
    assert y == sorted(y)


def test_units_are_what_they_say(curves: dict[str, Curve]) -> None:
    if "memory over photo size" in curves:
        assert 30 < curves["memory over photo size"]["points"][0]["y"] < 1000, "MB"
    if "latency over input size" in curves:
        small, large = curves["latency over input size"]["points"]
        assert (small["x"], small["side"]) == (QUICK.sides[0] ** 2, QUICK.sides[0])
        assert large["mmac"] / small["mmac"] == pytest.approx(large["x"] / small["x"], rel=0.02)


def test_the_command_prints_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = points({1: 10, 2: 6}, 2)
    fit = fit_workers(made, "threads", is_rate=False)
    curve = make_curve("latency over threads", ("threads", "threads"), ("one inference", "ms"), made, fit)
    monkeypatch.setattr(scale_module, "measure_scale", lambda quick, log: [curve])
    done = CliRunner().invoke(app, ["--quick", "--json", str(tmp_path / "scale.json")])
    assert done.exit_code == 0, done.output
    assert fit["text"] in done.stdout
    document = json.loads((tmp_path / "scale.json").read_text())
    assert document["curves"] == [curve]
    assert document["machine"]["cores"] >= 1


def test_a_process_that_fails_is_one_sentence() -> None:
    with pytest.raises(SegEdgeError, match="a process that is measured failed: no camera here"):
        scale_module._run("-c", "raise SystemExit('no camera here')")
