"""Photos on a real Ray on this machine: the local command's results, and nothing lost when a worker is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from seg_edge import Segmenter
from seg_edge.apps.image_cluster import PhotoActor
from seg_edge.apps.image_jobs import ImageOptions, PhotoJob
from seg_edge.commands.cli import app
from seg_edge.errors import OutputError, UsageError
from tests.tiny import TWO_UINT8, bright_square, carded


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes of one processor each, which outlives the commands."""
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'seg-edge[cluster]'")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(carded(TWO_UINT8, tmp_path_factory.mktemp("model")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten photos; one isn't a photo, and one has a result already."""
    (tmp_path / "in").mkdir()
    for index in range(10):
        assert cv2.imwrite(str(tmp_path / "in" / f"{index}.png"), np.roll(bright_square((48, 64)), index, axis=1))
    (tmp_path / "in/3.png").write_bytes(b"no photo")
    for out in ("local", "cluster"):
        (tmp_path / out).mkdir()
        (tmp_path / out / "5.overlay.jpg").write_bytes(b"precious")
    return tmp_path


def run(folder: Path, model: Path, out: str, *options: str) -> tuple[int, list[dict], dict[str, bytes]]:
    given = ["image", str(folder / "in"), "--model", str(model), "--out", str(folder / out), "--labels", "--json"]
    done = CliRunner().invoke(app, [*given, *options])
    documents = [json.loads(line.replace(f"/{out}/", "/out/")) for line in done.stdout.splitlines()]
    for document in documents:
        document.pop("timing_ms", None)
    files = {path.name: path.read_bytes() for path in (folder / out).iterdir()}
    return done.exit_code, sorted(documents, key=lambda document: document["photo"]), files


def test_it_does_what_the_local_command_does(folder: Path, model: Path, address: str) -> None:
    local, cluster = run(folder, model, "local"), run(folder, model, "cluster", "--ray", address)
    assert cluster == local
    code, documents, files = cluster
    assert code == 1
    assert ["error" in document for document in documents] == [index in (3, 5) for index in range(10)]
    assert files["5.overlay.jpg"] == b"precious"
    assert len(files) == 1 + 2 * 8

    code, documents, files_again = run(folder, model, "cluster", "--ray", address, "--skip-existing")
    assert ["skipped" in document for document in documents] == [index not in (3, 5) for index in range(10)]
    assert {name: files_again[name] for name in files if name[0] != "5"} == {
        name: content for name, content in files.items() if name[0] != "5"
    }


def test_a_killed_worker_loses_nothing(tmp_path: Path, model: Path, address: str) -> None:
    photos = []
    for index in range(60):
        photos.append(tmp_path / f"{index:02}.png")
        assert cv2.imwrite(str(photos[-1]), np.roll(bright_square((600, 800)), index, axis=1))
    given = [*map(str, photos), "--model", str(model), "--out", str(tmp_path / "out"), "--labels", "--json"]
    command = [sys.executable, "-m", "seg_edge.commands.cli", "image", *given, "--ray", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(6)]
        os.kill(min(actor_pids()), signal.SIGKILL)
        lines += process.stdout.readlines()
    assert process.returncode == 0
    documents = [json.loads(line) for line in lines]
    assert sorted(document["photo"] for document in documents) == [str(photo) for photo in photos]
    assert [document for document in documents if "error" in document] == []
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(photos)


def actor_pids() -> list[int]:
    """Processes of the actors, by the name that Ray gives them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"ray::PhotoActor" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture
def actor(model: Path, monkeypatch: pytest.MonkeyPatch) -> PhotoActor:
    """One without Ray, in the photos' folder."""
    monkeypatch.chdir(Path.cwd())
    actor = PhotoActor(1, os.getcwd(), share=0.5)
    actor.segmenter = Segmenter(model, threads=1)
    return actor


def test_a_repeated_photo_replaces_only_its_own_results(actor: PhotoActor, tmp_path: Path) -> None:
    photo, result = tmp_path / "a.png", tmp_path / "a.overlay.jpg"
    assert cv2.imwrite(str(photo), bright_square())
    job, options = PhotoJob(photo, {"overlay": result}, "a.png"), ImageOptions()
    result.write_bytes(b"precious")
    assert actor.segment([], job, options, frozenset(), False).blocked
    assert actor.segment([], job, ImageOptions(skip_existing=True), frozenset(), False).skipped
    assert result.read_bytes() == b"precious"
    assert not actor.segment([], job, ImageOptions(skip_existing=True), frozenset(), True).error
    assert result.read_bytes()[:2] == b"\xff\xd8"  # a JPEG


def test_no_result_replaces_a_photo_of_another_job(actor: PhotoActor, tmp_path: Path) -> None:
    photo, other = tmp_path / "a.png", tmp_path / "a.overlay.png"
    for path in (photo, other):
        assert cv2.imwrite(str(path), bright_square())
    before = other.read_bytes()
    job = PhotoJob(photo, {"overlay": other}, "a.png")
    result = actor.segment([], job, ImageOptions(force=True, picture_format="png"), frozenset({other}), False)
    assert "its result would replace the photo" in result.error
    assert other.read_bytes() == before


def test_a_machine_s_memory_is_shared_by_its_workers(actor: PhotoActor, tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    assert cv2.imwrite(str(photo), bright_square((400, 500)))  # 2.4 MB in progress
    job = PhotoJob(photo, {"overlay": tmp_path / "a.jpg"}, "a.png")
    assert "2 MB may be used" in actor.segment([], job, ImageOptions(memory_bytes=4_000_000), frozenset(), True).error
    assert not actor.segment([], job, ImageOptions(memory_bytes=6_000_000), frozenset(), True).error


def test_a_folder_that_a_machine_lacks_is_reported(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"{tmp_path}/none: can't be entered on .* share it with all machines"):
        PhotoActor(1, str(tmp_path / "none"), share=1)


def test_wrong_usage_is_refused(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["image", "-", "--ray", "auto"])
    assert isinstance(done.exception, UsageError)
    assert "'-' is one photo" in str(done.exception)
    monkeypatch.setitem(sys.modules, "ray", None)
    done = CliRunner().invoke(app, ["image", str(folder / "in"), "--model", str(model), "--ray", "auto"])
    assert isinstance(done.exception, UsageError)
    assert "pip install 'seg-edge[cluster]'" in str(done.exception)
