"""Lines for another program: complete, current, and robust against a reader that is slow or goes away."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seg_edge.errors import OutputError
from seg_edge.sinks.json_lines import JsonLines
from seg_edge.sinks.sink import Controls
from tests.edge.sinks.output_frames import make_output_frame

ROOT = Path(__file__).parents[3]
SOON = 10.0


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < until, "it didn't happen"
        time.sleep(0.01)


def test_a_line_has_every_field_of_a_frame(tmp_path: Path) -> None:
    path, before = tmp_path / "out.jsonl", time.time()
    with path.open("w") as stream:
        sink = JsonLines(stream, Controls())
        sink.publish(make_output_frame(3, (48, 64), age_ms=40.04))
        sink.close()
    (line,) = path.read_text().splitlines()
    document = json.loads(line)
    assert before - 0.1 < document.pop("time") < time.time()
    assert document == {
        "frame": 3,
        "age_ms": 40.0,
        "size_wh": [64, 48],
        "classes": {"person": 0.5, "cat": 0.0},
        "polygons": [{"class": "person", "area": 48 * 32, "points": [[0, 0], [0, 47], [31, 47], [31, 0]]}],
    }
    assert list(json.loads(line)) == ["frame", "time", "age_ms", "size_wh", "classes", "polygons"]


@pytest.mark.parametrize("make", [io.StringIO, io.BytesIO])
def test_streams_in_memory_work_too(make: type[io.StringIO] | type[io.BytesIO]) -> None:
    stream = make()
    sink = JsonLines(stream, Controls())
    sink.publish(make_output_frame(5))
    sink.idle("The camera is gone.")
    sink.close()
    sink.close()
    assert json.loads(stream.getvalue())["frame"] == 5


def test_each_line_is_written_at_once_and_after_buffered_text() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader) as lines:
        stream.write("before\n")
        sink = JsonLines(stream, Controls())
        assert lines.readline() == "before\n"
        for number in (1, 2, 3):
            sink.publish(make_output_frame(number))
            assert json.loads(lines.readline())["frame"] == number
        sink.close()
        assert (sink.written, sink.dropped) == (3, 0)


def test_a_slow_reader_gets_complete_lines_and_the_newest() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader) as lines:
        sink = JsonLines(stream, Controls())
        count = 0
        while not sink.dropped or count < 1000:  # a pipe holds a few hundred lines
            count += 1
            sink.publish(make_output_frame(count, (12, 16)))
            assert count < 100_000
        newest, frames = count, [0]
        while frames[-1] != newest:
            frames.append(json.loads(lines.readline())["frame"])
        assert frames == sorted(set(frames))
        sink.close()
        assert sink.written + sink.dropped == newest
        assert sink.written == len(frames) - 1


def test_a_reader_that_never_reads_does_not_keep_the_program_from_ending() -> None:
    code = """
import sys, threading, time
from seg_edge.sinks.json_lines import JsonLines
from seg_edge.sinks.sink import Controls
from tests.edge.sinks.output_frames import make_output_frame
sink = JsonLines(sys.stdout, Controls())
number, written, since = 0, 0, time.monotonic()
while time.monotonic() < since + 1:  # a second without a line: the pipe is full
    number += 1
    sink.publish(make_output_frame(number, (12, 16)))
    if sink.written > written:
        written, since = sink.written, time.monotonic()
began = time.monotonic()
sink.close()
print(time.monotonic() - began < 10, threading.active_count(), file=sys.stderr)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as program:
        try:
            assert program.wait(60) == 0
            assert program.stderr is not None
            assert program.stderr.read() == "True 1\n"
        finally:
            program.kill()


@pytest.mark.parametrize("frames", [True, False])
def test_when_the_reader_goes_away_the_camera_is_stopped(frames: bool) -> None:
    """Even while no frames come, as from a lost camera."""
    reader, writer = os.pipe()
    controls = Controls()
    with os.fdopen(writer, "w") as stream:
        sink = JsonLines(stream, controls)
        os.close(reader)
        if frames:
            sink.publish(make_output_frame(1))
        assert controls.stopped.wait(SOON)
        assert controls.reason == "the reader of --json has gone"
        sink.publish(make_output_frame(2))
        sink.close()


def test_a_program_whose_reader_goes_away_ends_silently() -> None:
    code = (
        "import sys; from seg_edge.sinks.json_lines import JsonLines; from seg_edge.sinks.sink import Controls;"
        "from tests.edge.sinks.output_frames import make_output_frame;"
        "controls = Controls(); sink = JsonLines(sys.stdout, controls); n = 0\n"
        "while not controls.stopped.wait(0.01) and n < 6000: n += 1; sink.publish(make_output_frame(n))\n"
        "sink.close(); print('unread'); sys.exit(7 if controls.reason else 8)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert program.stdout is not None
    assert program.stderr is not None
    with program.stderr:
        assert json.loads(program.stdout.readline())["frame"] == 1
        program.stdout.close()
        try:
            assert program.wait(60) == 7
            assert program.stderr.read() == ""
        finally:
            program.kill()


def test_a_full_disk_is_reported() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb", buffering=0) as stream:
        sink = JsonLines(stream, Controls())
        sink.publish(make_output_frame(1))
        wait_until(lambda: sink._failure != "")
        with pytest.raises(OutputError, match=r"--json: .*No space left"):
            sink.publish(make_output_frame(2))
        with pytest.raises(OutputError, match="No space left"):
            sink.close()
        sink.close()
