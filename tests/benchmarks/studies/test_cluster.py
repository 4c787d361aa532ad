"""When two runs count as the same. Clusters themselves need Ray and aren't started."""

import json
import sys
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.studies import cluster
from benchmarks.studies.cluster import draw_photos, read_results
from seg_edge.errors import SegEdgeError

app = typer.Typer()
app.command()(cluster.main)


def results(out: Path, *photos: str, took: float = 1.0) -> Path:
    out.mkdir(exist_ok=True)
    lines = []
    for photo in photos:
        (out / f"{photo}.jpg").write_text(photo)
        lines.append({"photo": photo, "outputs": {"overlay": f"{out}/{photo}.jpg"}, "timing_ms": {"total": took}})
    out.with_suffix(".jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return out


def test_order_folder_and_time_make_no_difference(tmp_path: Path) -> None:
    assert read_results(results(tmp_path / "plain", "a", "b")) == read_results(
        results(tmp_path / "two", "b", "a", took=2.0)
    )


def test_repeated_lost_and_different_results_are_noticed(tmp_path: Path) -> None:
    plain = read_results(results(tmp_path / "plain", "a", "b"))
    assert read_results(results(tmp_path / "twice", "a", "b", "b")) != plain
    assert read_results(results(tmp_path / "lost", "a")) != plain
    other = results(tmp_path / "other", "a", "b")
    (other / "b.jpg").write_text("c")
    assert read_results(other) != plain


def test_a_line_that_is_not_json_is_shown(tmp_path: Path) -> None:
    out = results(tmp_path / "two", "a")
    out.with_suffix(".jsonl").write_text("(raylet) a worker died\n")
    with pytest.raises(SegEdgeError, match=r"two: a line isn't JSON: \(raylet\) a worker died"):
        read_results(out)


def test_drawn_photos_are_all_different(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 3)
    paths = sorted((tmp_path / "photos").iterdir())
    assert [path.name for path in paths] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert len({path.read_bytes() for path in paths}) == 3
    assert cv2.imread(str(paths[0])).shape == (240, 320, 3)


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.cluster_utils", None)
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "pip install 'seg-edge[cluster]'" in done.stderr
