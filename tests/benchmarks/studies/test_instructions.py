"""Reading the plugin's output, and its test for dot products. The run itself needs QEMU and isn't started."""

import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.studies import instructions
from benchmarks.studies.instructions import PLUGIN, STAGES, Block, by_kernel, by_stage, read_stretches

app = typer.Typer()
app.command()(instructions.main)


def test_the_last_frame_of_each_model_counts() -> None:
    # Stage n executes 10 n instructions and 1 dot product; 1000 instructions lie between stages.
    lines = []
    for _model in range(2):
        for frame in range(2):
            for index in range(len(STAGES)):
                lines += ["ff 600 7", "fa0 400 0", ""]
                lines += [f"ff {10 * (index + 1) if frame else 5} 1", ""]
    models = by_stage(read_stretches("\n".join(lines) + "\n"), 2)
    expected = {"preprocess": (10, 1), "inference": (20, 1), "postprocess": (70, 2), "render": (50, 1)}
    for model in models:
        counts = {
            stage: (sum(b.instructions for b in blocks), sum(b.dots for b in blocks)) for stage, blocks in model.items()
        }
        assert counts == expected
    assert len(models) == 2


MAPS = """\
400000-401000 r-xp 00000000 00:00 1 /usr/bin/python3.11
500000-501000 rw-p 00000000 00:00 0
7000000-7100000 r--p 00000000 00:00 2 /opt/site/ai_edge_litert/libpywrap_litert_common.so
7100000-7900000 r-xp 00100000 00:00 2 /opt/site/ai_edge_litert/libpywrap_litert_common.so
"""
FUNCTIONS = """\
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     1: 0000000000000000     0 FUNC    WEAK   DEFAULT  UND __cxa_finalize@GLIBC_2.17 (2)
     2: 0000000000200000    64 FUNC    LOCAL  DEFAULT   12 xnn_qs8_gemm_ukernel_1x8__neon
     3: 0000000000100000   256 FUNC    LOCAL  DEFAULT   12 xnn_f32_vadd_ukernel__neon
     4: 0000000000300000   256 FUNC    LOCAL  DEFAULT   12 xnn_setup_add
     5: 0000000000300200     8 OBJECT  LOCAL  DEFAULT   12 a_ukernel_table
"""


def test_instructions_are_counted_for_the_kernel_they_lie_in() -> None:
    blocks = [
        Block(0x7100000, 5, 0),
        Block(0x71000FC, 6, 0),
        Block(0x7100100, 7, 0),  # after the kernel
        Block(0x7200010, 8, 2),
        Block(0x7300000, 9, 0),  # not a kernel
        Block(0x400010, 10, 0),
        Block(0x600000, 11, 0),
    ]
    assert by_kernel(blocks, MAPS, FUNCTIONS) == {
        "xnn_f32_vadd_ukernel__neon": 11,
        "xnn_qs8_gemm_ukernel_1x8__neon": 8,
        "libpywrap_litert_common.so": 16,
        "python3.11": 10,
        "elsewhere": 11,
    }


@pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler")
def test_dot_products_are_recognised(tmp_path: Path) -> None:
    source, program = tmp_path / "dot.c", tmp_path / "dot"
    source.write_text(
        f'#include <stdlib.h>\n#include "{PLUGIN}"\n'
        'int main(int count, char **codes) { while (*++codes) puts(is_dot(strtoul(*codes, 0, 0)) ? "1" : "0"); }\n'
    )
    # The linker drops the code that calls QEMU.
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
    output = subprocess.run([str(program), *map(hex, codes)], capture_output=True, text=True, check=True).stdout
    assert [line == "1" for line in output.split()] == list(codes.values())


def test_missing_tools_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["--cpu", "z80"]).exit_code == 2
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    done = CliRunner().invoke(app, ["person", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "no system with OpenCV; make it with" in done.stderr
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert "apt install" in CliRunner().invoke(app, ["person", "--root", str(tmp_path)]).stderr
