"""`benchmarks/studies/models.py` prints one table, and one sentence for each error."""

import re
from pathlib import Path

import pytest

pytest.importorskip("flatbuffers", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer
from typer.testing import CliRunner, Result

from benchmarks.studies.models import main, short_name
from tests.tiny import GREY, SIGMOID_FLOAT32, TWO_UINT8

app = typer.Typer()
app.command()(main)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_table_and_slowest_operators() -> None:
    done = run(TWO_UINT8, SIGMOID_FLOAT32, TWO_UINT8, "--threads", "2,1,2", "--slowest", 1, "--runs", 3)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0][:5] == ["model", "file kB", "parameters k", "MMAC", "not delegated"]
    assert [row[0] for row in rows[2:]] == [TWO_UINT8.name, SIGMOID_FLOAT32.name, TWO_UINT8.name]
    assert {len(row) for row in rows} == {5 + 2 * 4}
    assert rows[2][rows[0].index("ratio")] == "1.00"
    slowest = [line for line in lines if re.match(r"  +\d+%  +\d+\.\d+ ms  [A-Z_0-9]+ ", line)]
    assert len(slowest) == 3  # in models this small, which one it is depends on load
    assert sum("of the whole" in line for line in lines) == 3
    assert "medians of 3 and 3 alternating runs" in lines[0]
    assert "load" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.tflite"], 1, "gone.tflite"),
        ([GREY], 1, GREY.name),
        ([TWO_UINT8, "--threads", "1,x"], 2, "--threads"),
        ([TWO_UINT8, "--threads", "0"], 2, "--threads"),
    ],
)
def test_errors_are_one_sentence(arguments: list[object], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert done.output.startswith("error: ")
    assert message in done.output
    assert len(done.output.splitlines()) == 1


def test_a_damaged_file_gives_one_sentence(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(TWO_UINT8.read_bytes()[:200])
    done = run(damaged)
    assert done.exit_code == 1
    assert "damaged.tflite" in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("functional_1/unet_1/down0_a_relu_1/Relu;functional_1/unet_1/down0_a_norm_1/batchnorm", "down0_a_relu"),
        ("functional_1/unet_1/up0_upsample_1/resize/ResizeBilinear", "up0_upsample"),
        ("functional_1/unet_1/up0_narrow_1/convolution1", "up0_narrow"),
        ("segment", "segment"),
        ("StatefulPartitionedCall_1:0", "StatefulPartitionedCall_1:0"),
    ],
)
def test_short_names_of_layers(name: str, short: str) -> None:
    assert short_name(name) == short
