"""Growth laws are recovered from exact data."""

import pytest

from benchmarks.growth import describe_speedup, line, power_law, serial_share

X = (1.0, 3.0, 10.0, 30.0, 100.0)


def test_power_law() -> None:
    factor, exponent, r2 = power_law(X, [0.5 * x**1.25 for x in X])
    assert (factor, exponent, r2) == (pytest.approx(0.5), pytest.approx(1.25), pytest.approx(1))
    assert power_law((1, 2), (3, 5))[2] is None, "any law fits two points"


def test_line_weighs_small_costs_too() -> None:
    assert line(X, [0.25 + 0.03 * x for x in X]) == (pytest.approx(0.25), pytest.approx(0.03), pytest.approx(1))
    off_by_a_tenth = [0.28, *(0.25 + 0.03 * x for x in X[1:-1]), 1.1 * (0.25 + 0.03 * X[-1])]
    assert line(X, off_by_a_tenth)[0] == pytest.approx(0.25, rel=0.15)
    assert (line((1, 2, 3, 4), (2.0, 9.0, 1.0, 6.0))[2] or 0) < 0.5, "noise lowers R²"


def test_amdahls_law() -> None:
    counts = (1, 2, 4, 8)
    assert serial_share(counts, [20 * (0.3 + 0.7 / n) for n in counts]) == (pytest.approx(0.3), pytest.approx(1))


@pytest.mark.parametrize("is_rate", [False, True])
@pytest.mark.parametrize(
    ("times", "cores", "text"),
    [
        (
            {1: 10, 2: 6, 4: 4, 8: 30},
            4,
            "4 threads are 2.50 times as fast as 1 (by Amdahl's law 20% of the work is serial)",
        ),
        ({1: 10, 2: 4}, 2, "more than Amdahl's law allows"),
        ({1: 10, 2: 12}, 2, "more of them cost time"),
        ({1: 10, 2: 12}, 1, "one core: there is nothing to fit"),
    ],
)
def test_more_threads_than_cores_are_left_out_of_the_fit(
    times: dict[int, float], cores: int, text: str, is_rate: bool
) -> None:
    samples = {count: [1 / time if is_rate else time] * 3 for count, time in times.items()}
    assert text in describe_speedup(samples, "threads", cores, is_rate)[0]
