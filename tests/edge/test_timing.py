"""The clock that every stage is timed with."""

import pytest

from seg_edge import timing
from seg_edge.timing import timed


def test_blocks_of_a_stage_add_up_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.002, 1.0, 1.003, 5.0, 5.5])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(seconds))
    timing_ms: dict[str, float] = {}
    for stage in ("inference", "inference", "postprocess"):
        with timed(timing_ms, stage):
            pass
    assert timing_ms == pytest.approx({"inference": 5, "postprocess": 500})
