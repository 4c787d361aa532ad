"""Sound: copied where ffmpeg can, and said where it can't."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import pytest

from seg_edge.errors import OutputError
from seg_edge.sinks.video_file import VideoFile
from seg_edge.system.ffmpeg import NO_FFMPEG, copy_audio, rewrap, run_ffmpeg
from tests.tiny import noise

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed: apt install ffmpeg")
SECONDS = 2


def film(path: Path) -> Path:
    with VideoFile(path, (64, 48), 10) as video:
        for number in range(10 * SECONDS):
            video.write(noise((48, 64), number))
    return path


def original(path: Path, *codec: str) -> Path:
    sine = ("-f", "lavfi", "-i", f"sine=440:duration={SECONDS}")
    picture = ("-f", "lavfi", "-i", f"color=red:size=64x48:rate=25:duration={SECONDS}")
    assert run_ffmpeg(*sine, *picture, *codec, f"file:{path}") == ""
    return path


def streams(path: Path) -> dict[str, float]:
    """Codec name to seconds."""
    command = ["ffmpeg", "-nostdin", "-i", f"file:{path}", "-map", "0", "-c", "copy", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bases, names, ends = {}, {}, {}
    for line in done.stdout.splitlines():
        if line.startswith("#tb"):
            number, base = line[3:].split(":")
            above, below = base.split("/")
            bases[number.strip()] = int(above) / int(below)
        elif line.startswith("#codec_id"):
            number, name = line[9:].split(":")
            names[number.strip()] = name.strip()
        elif line[:1].isdigit():
            number, _, at, length = (part.strip() for part in line.split(",")[:4])
            ends[number] = max(ends.get(number, 0), (int(at) + int(length)) * bases[number])
    return {names[number]: end for number, end in ends.items()}


def frames(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.read()[0]:
        count += 1
    return count


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".ts"])
def test_the_sound_is_copied(tmp_path: Path, suffix: str) -> None:
    source = original(tmp_path / "-o: 10 %d.mp4", "-c:a", "aac")
    silent, out = film(tmp_path / f"silent{suffix}"), tmp_path / f"-out: 1 %d{suffix}"
    assert copy_audio(source, silent, out) == "the sound was kept"
    assert frames(out) == 10 * SECONDS
    found = streams(out)
    assert len(found) == 2
    assert found["aac"] == pytest.approx(SECONDS, abs=0.2)
    assert [seconds for name, seconds in found.items() if name != "aac"] == [pytest.approx(SECONDS, abs=0.2)]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("source", "codec", "suffix", "becomes"), [("o.mkv", "pcm_s16le", ".mp4", "aac"), ("o.mp4", "aac", ".webm", "opus")]
)
def test_sound_that_does_not_fit_is_encoded_anew(
    tmp_path: Path, source: str, codec: str, suffix: str, becomes: str
) -> None:
    out = tmp_path / f"out{suffix}"
    said = copy_audio(original(tmp_path / source, "-c:a", codec), film(tmp_path / f"silent{suffix}"), out)
    assert "kept, encoded anew" in said
    assert streams(out)[becomes] == pytest.approx(SECONDS, abs=0.2)
    assert frames(out) == 10 * SECONDS


@needs_ffmpeg
def test_an_original_without_sound(tmp_path: Path) -> None:
    source = original(tmp_path / "o.mp4", "-an")
    silent, out = film(tmp_path / "silent.mp4"), tmp_path / "out.mp4"
    assert copy_audio(source, silent, out) == "the original has no sound"
    assert frames(out) == 10 * SECONDS


@needs_ffmpeg
def test_an_original_that_can_not_be_read_costs_the_sound_alone(tmp_path: Path) -> None:
    source = tmp_path / "o.mp4"
    source.write_bytes(b"no video")
    silent, out = film(tmp_path / "silent.mp4"), tmp_path / "out.mp4"
    assert copy_audio(source, silent, out).startswith("its sound can't be read (")
    assert frames(out) == 10 * SECONDS


@needs_ffmpeg
def test_sound_that_no_way_fits_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = original(tmp_path / "o.mp4", "-c:a", "aac")
    silent, out = film(tmp_path / "silent.mp4"), tmp_path / "out.mp4"
    monkeypatch.setattr("seg_edge.system.ffmpeg._options", lambda _: ("-strict", "nonsense"))
    assert copy_audio(source, silent, out).startswith("the sound was left out, for ffmpeg can't put it into .mp4 (")
    assert frames(out) == 10 * SECONDS


def test_without_ffmpeg_the_film_is_there_and_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    silent, out = film(tmp_path / "silent.mp4"), tmp_path / "out.mp4"
    assert copy_audio(tmp_path / "o.mp4", silent, out) == NO_FFMPEG
    assert frames(out) == 10 * SECONDS
    with pytest.raises(OutputError, match=r"no/out\.mp4: can't be written"):
        copy_audio(tmp_path / "o.mp4", out, tmp_path / "no" / "out.mp4")


@needs_ffmpeg
def test_an_mp4_has_its_index_first(tmp_path: Path) -> None:
    source = original(tmp_path / "o.mp4", "-c:a", "aac")
    out = tmp_path / "out.mp4"
    copy_audio(source, film(tmp_path / "silent.mp4"), out)
    content = out.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rewrapping_changes_the_container_alone(tmp_path: Path, suffix: str) -> None:
    source, out = film(tmp_path / "silent.ts"), tmp_path / f"out{suffix}"
    rewrap(source, out)
    assert source.exists()
    assert frames(out) == 10 * SECONDS
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FPS) == pytest.approx(10)


@needs_ffmpeg
def test_a_failed_rewrap_leaves_all_as_it_was(tmp_path: Path) -> None:
    source, out = tmp_path / "silent.ts", tmp_path / "out.mp4"
    source.write_bytes(b"no video")
    out.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"out\.mp4: ffmpeg can't write it .*; the video is in .*silent\.ts"):
        rewrap(source, out)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "silent.ts"]
