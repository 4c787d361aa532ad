"""The time that frames spend in each stage: percentiles by histograms of constant size, and the unexplained rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_edge.capture.timeline import STAGES, Histogram, Timeline


@given(st.lists(st.floats(0.001, 9.9e4), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_within_half_a_percent_of_numpy_s(values: list[float], percent: int) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = float(np.percentile(values, percent, method="inverted_cdf"))
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.0051)


def test_values_out_of_range_count_in_the_nearest_bin() -> None:
    histogram = Histogram()
    for value in (-1.0, 0.0, 1e12):
        histogram.add(value)
    assert histogram.count == 3
    assert histogram.percentile(1) == pytest.approx(0.001, rel=0.01)
    assert histogram.percentile(100) == pytest.approx(1e5, rel=0.02)


def test_without_frames_every_figure_is_null() -> None:
    assert Histogram().percentile(50) is None
    document = Timeline().to_json()
    assert document["frame_age_ms"] == {"p50": None, "p95": None, "p99": None}
    assert set(document["stages_ms"]) == set(STAGES)
    assert document["stages_ms"]["render"] == {"p50": None, "p95": None, "mean": None}


def test_time_that_no_stage_explains_is_reported() -> None:
    timeline = Timeline()
    stages = dict.fromkeys(STAGES, 1.0)
    timeline.add(stages, age_ms=7.0)
    assert timeline.to_json()["unaccounted_ms"]["p95"] == pytest.approx(0, abs=0.01)
    for _ in range(30):
        timeline.add(stages, age_ms=27.0)
    document = timeline.to_json()
    assert document["unaccounted_ms"]["p50"] == pytest.approx(20, rel=0.01)
    assert document["frame_age_ms"]["p50"] == pytest.approx(27, rel=0.01)
    assert document["stages_ms"]["wait"]["mean"] == 1.0
