"""What is made of the plugin's lines, and the plugin's own idea of a dot product; the run itself needs QEMU."""

import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.studies import instructions
from benchmarks.studies.instructions import PLUGIN, STAGES, stage_counts

app = typer.Typer()
app.command()(instructions.main)


def test_the_last_frame_of_each_model_counts() -> None:
    # Each stage takes 10 times its number, and 1 dot product; between stages 1000 instructions pass.
    marks, total, dots = [], 0, 0
    for _model in range(2):
        for frame in range(2):
            for index in range(len(STAGES)):
                total, dots = total + 1000, dots + 7
                marks.append((total, dots))
                total, dots = total + (10 * (index + 1) if frame else 5), dots + 1
                marks.append((total, dots))
    expected = {"preprocess": (10, 1), "inference": (20, 1), "postprocess": (70, 2), "render": (50, 1)}
    assert stage_counts(marks, 2) == [expected, expected]


@pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler")
def test_dot_products_are_recognised(tmp_path: Path) -> None:
    source, program = tmp_path / "dot.c", tmp_path / "dot"
    source.write_text(
        f'#include <stdlib.h>\n#include "{PLUGIN}"\n'
        'int main(int count, char **codes) { while (*++codes) puts(is_dot(strtoul(*codes, 0, 0)) ? "1" : "0"); }\n'
    )
    # What calls QEMU is left out by the linker.
    sections = ["-ffunction-sections", "-Wl,--gc-sections"]
    subprocess.run(["gcc", *sections, "-o", str(program), str(source)], check=True)
    codes = {  # as GNU as assembles them
        0x4E829420: True,  # sdot v0.4s, v1.16b, v2.16b
        0x2E829420: True,  # udot v0.2s, v1.8b, v2.8b
        0x4FA2E020: True,  # sdot v0.4s, v1.16b, v2.4b[1]
        0x4F82E820: True,  # sdot v0.4s, v1.16b, v2.4b[2]
        0x4E22CC20: False,  # fmla v0.4s, v1.4s, v2.4s
        0x4EA29420: False,  # mla v0.4s, v1.4s, v2.4s
        0x0E22C020: False,  # smull v0.8h, v1.8b, v2.8b
        0x8B020020: False,  # add x0, x1, x2
    }
    said = subprocess.run([str(program), *map(hex, codes)], capture_output=True, text=True, check=True).stdout
    assert [line == "1" for line in said.split()] == list(codes.values())


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["--cpu", "z80"]).exit_code == 2
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    done = CliRunner().invoke(app, ["person", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "no system with OpenCV; make it by" in done.stderr
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert "apt install" in CliRunner().invoke(app, ["person", "--root", str(tmp_path)]).stderr
