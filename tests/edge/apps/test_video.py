"""`seg-edge video`: every frame, in order, the length kept; whole or not there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.apps.video import constant_rate, segment_video
from seg_edge.commands import cli
from seg_edge.errors import OutputError, SourceError, UsageError
from seg_edge.segmenter import Segmenter
from tests.tiny import GRACE_HOPPER, TWO_UINT8, bright_square, carded

FRAMES = 45


def make_clip(path: Path, frames: int = FRAMES, shape_hw: tuple[int, int] = (64, 96), fps: float = 25) -> Path:
    """A bright square whose brightness tells the frame's number; the model finds it in every frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, shape_hw[::-1])
    for number in range(frames):
        frame = bright_square(shape_hw)
        frame[:8] = 2 * number % 256
        writer.write(frame)
    writer.release()
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], float]:
    video = cv2.VideoCapture(str(path))
    frames = []
    while (frame := video.read()[1]) is not None:
        frames.append(frame)
    return frames, video.get(cv2.CAP_PROP_FPS)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter(carded(TWO_UINT8, tmp_path), threads=1)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.avi")


def test_every_frame_comes_out_in_order_with_its_own_mask(clip: Path, tmp_path: Path, segmenter: Segmenter) -> None:
    out = tmp_path / "new folder" / "out.mp4"
    shown: list[tuple[int, int | None]] = []
    outcome = segment_video(clip, out, segmenter, "overlay", None, False, lambda *done: shown.append(done))
    frames, fps = read_clip(out)
    assert len(frames) == FRAMES
    assert fps == pytest.approx(25, abs=0.01)
    numbers = [frame[:6].mean() / 2 for frame in frames]
    assert np.allclose(numbers, range(FRAMES), atol=2)
    square = np.array([frame[32, 48] for frame in frames])
    assert np.ptp(square[0]) > 60, "the square is tinted, not white"
    assert np.all(np.abs(square.astype(int) - square[0]) < 25)
    assert shown == [(done, FRAMES) for done in range(1, FRAMES + 1)]
    assert outcome.stats["frames"] == {
        "captured": FRAMES, "segmented": FRAMES, "published": FRAMES, "dropped": 0,
    }  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("effect", ["mask", "cutout", "blur"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_every_effect_in_every_container(
    clip: Path, tmp_path: Path, segmenter: Segmenter, effect: str, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    segment_video(clip, out, segmenter, effect, None, False)
    frames, _ = read_clip(out)
    assert len(frames) == FRAMES


def test_an_odd_size(tmp_path: Path, segmenter: Segmenter) -> None:
    clip = tmp_path / "odd.mkv"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"FFV1"), 25, (97, 65))
    for _ in range(5):
        writer.write(bright_square((65, 97)))
    writer.release()
    out = tmp_path / "out.mp4"
    segment_video(clip, out, segmenter, "overlay", None, False)
    frames, _ = read_clip(out)
    assert len(frames) == 5
    assert abs(frames[0].shape[0] - 65) <= 1
    assert abs(frames[0].shape[1] - 97) <= 1


def test_what_is_there_is_kept_unless_told_otherwise(clip: Path, tmp_path: Path, segmenter: Segmenter) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    with pytest.raises(OutputError, match="--force"):
        segment_video(clip, out, segmenter, "overlay", None, False)
    assert out.read_text() == "precious"
    segment_video(clip, out, segmenter, "overlay", None, True)
    assert len(read_clip(out)[0]) == FRAMES


def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    folder = tmp_path / "out"
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"no video at all" * 100)
    for video in (tmp_path / "missing.mp4", tmp_path, junk):
        with pytest.raises(SourceError, match=video.name) as raised:
            segment_video(video, folder / "out.mp4", segmenter, "overlay", None, False)
        assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="the video itself"):
        segment_video(clip, clip, segmenter, "overlay", None, True)
    with pytest.raises(UsageError, match="--background"):
        segment_video(clip, folder / "out.mp4", segmenter, "replace", None, False)
    with pytest.raises(UsageError, match="mp4"):
        segment_video(clip, folder / "out.docx", segmenter, "overlay", None, False)
    assert not folder.exists() or not list(folder.iterdir())
    assert len(read_clip(clip)[0]) == FRAMES


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed: sudo apt install ffmpeg")
def test_sound_is_kept_and_stays_in_step(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    loud = tmp_path / "loud.mp4"
    make = ["ffmpeg", "-v", "error", "-i", str(clip), "-f", "lavfi", "-i", "sine=frequency=440:duration=1.8"]
    subprocess.run([*make, "-c:v", "mpeg4", "-c:a", "aac", str(loud)], check=True)
    out = tmp_path / "out.mp4"
    outcome = segment_video(loud, out, segmenter, "overlay", None, False)
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,duration", "-of", "json", str(out)]
    streams = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)["streams"]
    durations = {stream["codec_type"]: float(stream["duration"]) for stream in streams}
    assert set(durations) == {"video", "audio"}
    assert durations["video"] == pytest.approx(FRAMES / 25, abs=0.1)
    assert durations["audio"] == pytest.approx(1.8, abs=0.1)
    assert "sound" in outcome.sound


def test_without_ffmpeg_it_says_that_there_is_no_sound(
    tmp_path: Path, clip: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = segment_video(clip, tmp_path / "out.mp4", segmenter, "overlay", None, False)
    assert "ffmpeg" in outcome.sound
    assert len(read_clip(tmp_path / "out.mp4")[0]) == FRAMES


def test_the_command(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, out, stats = carded(TWO_UINT8, tmp_path), tmp_path / "out.mp4", tmp_path / "stats.json"
    arguments = ["video", str(clip), "--out", str(out), "--model", str(model), "--stats", str(stats)]
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    said, complaints = capfd.readouterr()
    assert (stopped.value.code or 0, complaints) == (0, "")
    assert f"{FRAMES} frames" in said
    assert str(out) in said
    assert json.loads(stats.read_text())["frames"]["dropped"] == 0
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 1
    assert "--force" in capfd.readouterr()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_half_way_it_leaves_nothing(tmp_path: Path, number: int) -> None:
    clip = make_clip(tmp_path / "clip.avi", frames=3000, shape_hw=(240, 320))
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "seg_edge.commands.cli", "video", str(clip), "--out", str(folder / "out.mp4")],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 20
    while not (folder.exists() and any(path.stat().st_size for path in folder.iterdir())):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "stopped" in said
    assert "Traceback" not in said
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed: sudo apt install ffmpeg")
def test_a_phone_s_changing_rate_keeps_its_length(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    phone = tmp_path / "phone.mkv"
    slower = "setpts='if(lt(N,20),N,20+(N-20)*4)/25/TB'"  # from the 20th frame on, a quarter of the rate
    make = ["ffmpeg", "-v", "error", "-i", str(clip), "-vf", slower, "-vsync", "vfr", "-c:v", "mpeg4", "-q:v", "2"]
    subprocess.run([*make, str(phone)], check=True)
    originals, _ = read_clip(phone)
    assert len(originals) == FRAMES
    out = tmp_path / "out.mp4"
    outcome = segment_video(phone, out, segmenter, "overlay", None, False)
    frames, fps = read_clip(out)
    assert outcome.stats["frames"]["published"] == FRAMES
    shown = np.array([frame[:6].mean() / 2 for frame in frames])
    expected = np.concatenate([np.arange(20), np.repeat(np.arange(20, FRAMES - 1), 4)])
    assert fps == pytest.approx(25)
    assert np.allclose(shown[: len(expected)], expected, atol=3.5), "each is shown when it was, and for as long"
    assert shown[-1] == pytest.approx(FRAMES - 1, abs=3.5)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed: sudo apt install ffmpeg")
@pytest.mark.parametrize("expression", ["if(lt(t,2),not(mod(n,15)),1)", "if(gt(t,2),not(mod(n,15)),1)"])
def test_slow_then_quick_and_quick_then_slow_last_as_long_as_their_sound(
    tmp_path: Path, segmenter: Segmenter, expression: str
) -> None:
    phone, out = tmp_path / "phone.mp4", tmp_path / "out.mp4"
    sources = ["-f", "lavfi", "-i", "testsrc=s=96x64:d=4:r=30", "-f", "lavfi", "-i", "sine=duration=4"]
    make = ["ffmpeg", "-v", "error", *sources, "-vf", f"select='{expression}'", "-vsync", "vfr", "-c:v", "mpeg4"]
    subprocess.run([*make, str(phone)], check=True)
    segment_video(phone, out, segmenter, "overlay", None, False)
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,duration", "-of", "json", str(out)]
    streams = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)["streams"]
    for stream in streams:
        assert float(stream["duration"]) == pytest.approx(4, abs=0.6), stream


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed: sudo apt install ffmpeg")
def test_pictures_that_begin_after_the_sound_still_do(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    late, out = tmp_path / "late.mkv", tmp_path / "out.mkv"
    sources = ["-itsoffset", "1", "-i", str(clip), "-f", "lavfi", "-i", "sine=duration=3"]
    subprocess.run(
        ["ffmpeg", "-v", "error", *sources, "-map", "0:v", "-map", "1:a", "-c:v", "copy", str(late)], check=True
    )
    segment_video(late, out, segmenter, "overlay", None, False)
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,start_time", "-of", "csv=p=0", str(out)]
    said = subprocess.run(probe, check=True, capture_output=True, text=True).stdout
    starts = dict(line.split(",")[:2] for line in said.split())
    assert float(starts["video"]) - float(starts["audio"]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        (np.arange(100) / 25, None),
        (np.round(np.arange(100) / 30, 3), None),  # a container that counts milliseconds
        (np.concatenate([np.arange(50) / 2, 25 + np.arange(50) / 30]), 30),
        (np.concatenate([np.arange(50) / 2, 25 + np.arange(50) / 1000]), 120),
        (np.zeros(10), None),
        (np.zeros(0), None),
        (np.zeros(1), None),
    ],
)
def test_the_rate_at_which_uneven_frames_are_written(times: np.ndarray, rate: float | None) -> None:
    assert constant_rate(times) == (None if rate is None else pytest.approx(rate, rel=0.01))


def test_one_frame_and_a_photo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, clip = carded(TWO_UINT8, tmp_path), make_clip(tmp_path / "one.avi", frames=1)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["video", str(clip), "--out", str(tmp_path / "out.mkv"), "--model", str(model)])
    assert (stopped.value.code or 0) == 0
    assert "1 frames" in capfd.readouterr()[0]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["video", str(GRACE_HOPPER), "--out", str(tmp_path / "photo.mkv"), "--model", str(model)])
    assert stopped.value.code == 1
    assert "seg-edge image" in capfd.readouterr()[1]


def test_damaged_frames_are_not_passed_over_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, clip = carded(TWO_UINT8, tmp_path), make_clip(tmp_path / "clip.avi")
    content = bytearray(clip.read_bytes())
    chunk = content.index(b"00dc", len(content) // 2)  # a frame of an AVI: its mark, its size, its JPEG
    size = int.from_bytes(content[chunk + 4 : chunk + 8], "little")
    content[chunk + 8 : chunk + 8 + size] = bytes(size)
    clip.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["video", str(clip), "--out", str(tmp_path / "out.mkv"), "--model", str(model)])
    said, complaint = capfd.readouterr()
    assert stopped.value.code == 1
    done, damaged = re.search(r"(\d+) frames", said), re.search(r"(\d+) of its frames are damaged", complaint)
    assert done
    assert damaged
    assert int(damaged[1]) >= 1
    assert int(done[1]) + int(damaged[1]) == FRAMES


def test_messages_name_the_file_the_user_named(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    for out in (tmp_path / "x.gif", tmp_path / "noext"):
        with pytest.raises(UsageError, match=rf"^{out}: a video's name"):
            segment_video(clip, out, segmenter, "overlay", None, False)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=f"^{tmp_path / 'folder.mp4'}"):
        segment_video(clip, tmp_path / "folder.mp4", segmenter, "overlay", None, True)
    with pytest.raises(SourceError, match="a folder"):
        segment_video(tmp_path, tmp_path / "out.mp4", segmenter, "overlay", None, False)
