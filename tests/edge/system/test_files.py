"""Files that are complete or absent, whatever happens while they are written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seg_edge.errors import OutputError
from seg_edge.system.files import atomic_write, write_file


def names(folder: Path) -> list[str]:
    """All files in the folder, hidden ones too."""
    return sorted(os.listdir(folder))


def test_the_file_appears_complete_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as place:
        place.write_text("half, ")
        assert not path.exists()
        with place.open("a") as stream:
            stream.write("whole")
    assert path.read_text() == "half, whole"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("content", [b"", b"one\r\n\0two\xff", bytes(3_000_000)])
def test_every_byte_is_written(tmp_path: Path, content: bytes) -> None:
    write_file(tmp_path / "a.bin", content)
    assert (tmp_path / "a.bin").read_bytes() == content
    assert names(tmp_path) == ["a.bin"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_file(tmp_path / "one/two/a.txt", b"content")
    assert (tmp_path / "one/two/a.txt").read_bytes() == b"content"


@pytest.mark.parametrize("name", ["a.mp4", "a.tar.gz", "ä ö.JPG", "-a.png"])
def test_the_temporary_file_is_in_the_same_folder_with_the_same_suffix(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as place:
        assert (place.parent, place.suffix) == (tmp_path, Path(name).suffix)
        assert place.name.startswith(".")
        assert place.name != name
        place.touch()
    assert names(tmp_path) == [name]


def fail_halfway(path: Path, error: BaseException) -> None:
    with atomic_write(path) as place:
        place.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("earlier", [None, b"precious"])
@pytest.mark.parametrize("error", [ValueError("no"), OutputError("a.txt: no."), KeyboardInterrupt()])
def test_an_error_in_the_block_passes_and_leaves_the_old_file(
    tmp_path: Path, error: BaseException, earlier: bytes | None
) -> None:
    path = tmp_path / "a.txt"
    if earlier is not None:
        path.write_bytes(earlier)
    with pytest.raises(type(error)) as caught:
        fail_halfway(path, error)
    assert caught.value is error
    assert names(tmp_path) == ([] if earlier is None else ["a.txt"])
    assert earlier is None or path.read_bytes() == earlier


def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"precious")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a name nobody knows")
    with pytest.raises(OutputError) as caught:
        fail_halfway(path, full)
    assert str(caught.value) == f"{path}: can't be written (No space left on device); choose another location."
    assert caught.value.__cause__ is full
    assert names(tmp_path) == ["a.txt"]
    assert path.read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_write_that_stops_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"precious")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from seg_edge.system.files import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_file(Path(sys.argv[1]), bytes(5000))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1].endswith("can't be written (File too large); choose another location.")
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == b"precious"


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(OutputError) as caught:
        write_file(path, b"content")
    assert str(caught.value).startswith(f"{path}: can't be written (")
    assert str(caught.value).endswith("; choose another location.")
    assert names(tmp_path) == ["file"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="No such file"), atomic_write(path):
        pass
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["folder", ".", "folder/..", "pipe", "link to pipe"])
def test_anything_but_a_file_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo("pipe")
    (tmp_path / "link to pipe").symlink_to("pipe")
    before = names(tmp_path)
    with pytest.raises(OutputError, match="a folder or a device"), atomic_write(Path(place)):
        pytest.fail("the block was entered")
    assert names(tmp_path) == before
    assert Path("pipe").is_fifo()


def test_two_writers_of_one_file_leave_one_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from seg_edge.system.files import write_file\n"
        "for _ in range(100):\n"
        "    write_file(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
    assert names(tmp_path) == ["a.bin"]
