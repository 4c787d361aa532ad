"""Capture and segmentation at the same time: the newest wins, nothing queues, and the stages add up to the age."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seg_edge.capture.pipeline import Pipeline, _stages_ms
from seg_edge.capture.supervisor import CapturedFrame
from seg_edge.capture.timeline import STAGES
from seg_edge.errors import SourceError
from seg_edge.segmenter import Segmenter
from seg_edge.sources.source import SourceRequest
from seg_edge.system.mailbox import Mailbox
from tests.edge.sinks.output_frames import make_output_frame
from tests.stand_in_sources import OPENER, SHAPE, set_state
from tests.tiny import TWO_UINT8, carded


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter(carded(TWO_UINT8, tmp_path), threads=1)


def request(folder: Path, live: bool = True) -> SourceRequest:
    return SourceRequest(set_state(folder, "works"), (32, 32), live=live)


def drain(pipeline: Pipeline) -> None:
    while not pipeline.exhausted():
        pipeline.take(5)


def test_the_newest_item_replaces_one_that_was_not_taken() -> None:
    mailbox: Mailbox[int] = Mailbox(keep_all=False)
    for number in range(5):
        mailbox.put(number)
    assert mailbox.take(0) == 4
    assert mailbox.take(0.01) is None
    assert mailbox.replaced == 4
    assert not mailbox.exhausted


def test_if_all_are_kept_put_waits_until_the_item_is_taken() -> None:
    mailbox: Mailbox[int] = Mailbox(keep_all=True)
    thread = threading.Thread(target=lambda: [mailbox.put(number) for number in range(100)])
    thread.start()
    assert [mailbox.take(2) for _ in range(100)] == list(range(100))
    thread.join(2)
    assert mailbox.replaced == 0


@pytest.mark.parametrize("keep_all", [True, False])
def test_the_end_wakes_both_sides_and_leaves_the_item(keep_all: bool) -> None:
    mailbox: Mailbox[int] = Mailbox(keep_all)
    mailbox.put(1)
    threads = [threading.Thread(target=mailbox.put, args=(2,)), threading.Timer(0.1, mailbox.end)]
    for thread in threads:
        thread.start()
    threads[1].join(2)
    threads[0].join(2)
    assert not threads[0].is_alive()
    assert mailbox.take(1) in (1, 2)
    assert mailbox.take() is None
    assert mailbox.exhausted
    mailbox.put(3)
    assert mailbox.exhausted


def test_live_results_belong_to_their_frames_and_no_stage_is_counted_twice(
    tmp_path: Path, segmenter: Segmenter
) -> None:
    with Pipeline(request(tmp_path), segmenter, print, OPENER) as pipeline:
        items = []
        while len(items) < 100:
            item = pipeline.take(30)
            assert item is not None
            items.append((item, (time.monotonic() - item.source.captured) * 1000))
    for item, _ in items:
        assert item.result.labels.shape == SHAPE[:2]
        assert np.all(item.result.pixels == item.source.frame[0, 0, 0])
        assert set(item.stages_ms) == set(STAGES) - {"render", "publish"}
        assert min(item.stages_ms.values()) >= 0
    captured = [item.source.captured for item, _ in items]
    assert captured == sorted(captured)
    unaccounted_ms = [age_ms - sum(item.stages_ms.values()) for item, age_ms in items]
    assert min(unaccounted_ms) > -0.01, "a stage is counted twice"


def test_the_stages_add_up_to_the_age() -> None:
    """From the capture at 100 s to the inference's start at 100.02 s, and the 8 ms that the segmenter measured."""
    source_frame = CapturedFrame(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8), 100.0, 100.015, resize_s=0.002)
    result = replace(make_output_frame().result, timing_ms={"preprocess": 1.0, "inference": 5.0, "postprocess": 2.0})
    stages_ms = _stages_ms(source_frame, 100.02, result, held_back=False)
    assert stages_ms == pytest.approx({"capture": 13, "preprocess": 3, "inference": 5, "postprocess": 2, "wait": 5})
    assert sum(stages_ms.values()) == pytest.approx(20 + 8)


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted_as_dropped(tmp_path: Path, segmenter: Segmenter) -> None:
    taken, last = 0, 0.0
    with Pipeline(request(tmp_path), segmenter, print, OPENER) as pipeline:
        for _ in range(10):
            before = pipeline.captured
            until = time.monotonic() + 60
            while pipeline.captured < before + 5 and time.monotonic() < until:
                time.sleep(0.01)
            item = pipeline.take(30)
            assert item is not None
            assert item.source.captured > last, "a frame from before the last one was taken"
            taken, last = taken + 1, time.monotonic()
        captured, dropped = pipeline.captured, pipeline.dropped
    assert captured - taken - 3 <= dropped <= captured - taken  # up to three are in progress


def test_every_frame_of_a_source_that_is_not_live_comes_out_in_order(tmp_path: Path, segmenter: Segmenter) -> None:
    (tmp_path / "finite").touch()
    values = []
    with Pipeline(request(tmp_path, live=False), segmenter, print, OPENER) as pipeline:
        while not pipeline.exhausted():
            item = pipeline.take(1)
            if item is not None:
                time.sleep(0.002)
                values.append(int(item.source.frame[0, 0, 0]))
            if len(values) == 50:
                set_state(tmp_path, "ends")
    assert values == list(range(len(values)))
    assert len(values) >= 50
    assert (pipeline.dropped, pipeline.captured, pipeline.segmented) == (0, len(values), len(values))


def test_a_finite_source_that_fails_raises_where_the_results_are_taken(tmp_path: Path, segmenter: Segmenter) -> None:
    (tmp_path / "finite").touch()
    with Pipeline(request(tmp_path), segmenter, print, OPENER) as pipeline:
        assert pipeline.take(5) is not None
        set_state(tmp_path, "unplugged")
        with pytest.raises(SourceError, match="plug it in"):
            drain(pipeline)


def test_an_error_while_segmenting_is_raised_not_lost(tmp_path: Path, segmenter: Segmenter) -> None:
    class Broken(Segmenter):
        def __init__(self) -> None:
            self.__dict__.update(segmenter.__dict__)

        def __call__(self, frame, small=None):
            raise RuntimeError("the delegate has failed")

    with Pipeline(request(tmp_path), Broken(), print, OPENER) as pipeline, pytest.raises(RuntimeError, match="gate"):
        drain(pipeline)


def test_a_segmentation_that_hangs_does_not_prevent_the_end(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg_edge.capture.pipeline.STOP_S", 0.5)
    release = threading.Event()

    class Hanging(Segmenter):
        def __init__(self) -> None:
            self.__dict__.update(segmenter.__dict__)

        def __call__(self, frame, small=None):
            release.wait(30)
            return segmenter(frame, small)

    with Pipeline(request(tmp_path), Hanging(), print, OPENER) as pipeline:
        assert pipeline.take(1.0) is None
    assert not release.is_set(), "the pipeline ended while the model still hung"
    release.set()
