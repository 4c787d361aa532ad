"""`seg-edge video`: every frame, in order, the length kept; complete or absent."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from seg_edge.apps.video import EvenTimes, segment_video
from seg_edge.commands import cli
from seg_edge.effects import EffectSettings
from seg_edge.errors import OutputError, SourceError, UsageError
from seg_edge.segmenter import Segmenter
from seg_edge.sources.source import SourceInfo
from tests.clips import SD, Clip, write_video
from tests.tiny import GRACE_HOPPER, TWO_UINT8, bright_square, carded

FRAMES = 45


def make_clip(path: Path, frames: int = FRAMES, shape_hw: tuple[int, int] = (64, 96), fps: float = 25) -> Path:
    """A bright square whose brightness encodes the frame's number; the model finds it in every frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, shape_hw[::-1])
    for number in range(frames):
        frame = bright_square(shape_hw)
        frame[:8] = 5 * number // 2 % 256
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
    outcome = segment_video(clip, out, segmenter, EffectSettings("overlay"), False, lambda *done: shown.append(done))
    frames, fps = read_clip(out)
    assert len(frames) == FRAMES
    assert fps == pytest.approx(25, abs=0.01)
    numbers = [frame[:6].mean() / 2.5 for frame in frames]
    assert np.allclose(numbers, range(FRAMES), atol=2)
    square = np.array([frame[32, 48] for frame in frames])
    assert np.ptp(square[0]) > 60, "the square is tinted, not white"
    assert np.all(np.abs(square.astype(int) - square[0]) < 25)
    assert shown == [(done, FRAMES) for done in range(1, FRAMES + 1)]
    assert outcome.stats["frames"] == {
        "captured": FRAMES, "segmented": FRAMES, "published": FRAMES, "dropped": 0,
    }  # fmt: skip
    assert outcome.stats["flicker"] is None, "measured only on request"
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("effect", ["mask", "blur"])
@pytest.mark.parametrize("suffix", [".m4v", ".mkv", ".avi", ".gif"])
def test_every_effect_in_every_container(
    clip: Path, tmp_path: Path, segmenter: Segmenter, effect: str, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    segment_video(clip, out, segmenter, EffectSettings(effect), False)
    frames, _ = read_clip(out)
    assert len(frames) == FRAMES


def test_an_odd_size(tmp_path: Path, segmenter: Segmenter) -> None:
    clip = tmp_path / "odd.mkv"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"FFV1"), 25, (97, 65))
    for _ in range(5):
        writer.write(bright_square((65, 97)))
    writer.release()
    out = tmp_path / "out.mp4"
    segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
    frames, _ = read_clip(out)
    assert len(frames) == 5
    assert abs(frames[0].shape[0] - 65) <= 1
    assert abs(frames[0].shape[1] - 97) <= 1


def test_an_existing_file_is_kept_unless_forced(clip: Path, tmp_path: Path, segmenter: Segmenter) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    with pytest.raises(OutputError, match="--force"):
        segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
    assert out.read_text() == "precious"
    segment_video(clip, out, segmenter, EffectSettings("overlay"), True)
    assert len(read_clip(out)[0]) == FRAMES


def test_bad_input_is_reported_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, clip: Path, segmenter: Segmenter
) -> None:
    folder = tmp_path / "out"
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"no video at all" * 100)
    for video in (tmp_path / "missing.mp4", tmp_path, junk):
        with pytest.raises(SourceError, match=video.name) as raised:
            segment_video(video, folder / "out.mp4", segmenter, EffectSettings("overlay"), False)
        assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="the video itself"):
        segment_video(clip, clip, segmenter, EffectSettings("overlay"), True)
    with pytest.raises(UsageError, match="--background"):
        segment_video(clip, folder / "out.mp4", segmenter, EffectSettings("replace"), False)
    with pytest.raises(UsageError, match="mp4"):
        segment_video(clip, folder / "out.docx", segmenter, EffectSettings("overlay"), False)
    assert not folder.exists() or not list(folder.iterdir())
    assert len(read_clip(clip)[0]) == FRAMES


def test_the_command(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, out, stats = carded(TWO_UINT8, tmp_path), tmp_path / "out.mp4", tmp_path / "stats.json"
    arguments = ["video", str(clip), "--out", str(out), "--model", str(model), "--stats", str(stats)]
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out_text, complaints = capfd.readouterr()
    assert (stopped.value.code or 0, complaints) == (0, "")
    assert f"{FRAMES} frames" in out_text
    assert str(out) in out_text
    results = json.loads(stats.read_text())
    assert results["frames"]["dropped"] == 0
    assert results["flicker"] == 0
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
    deadline = time.monotonic() + 60
    while not (folder.exists() and any(path.stat().st_size for path in folder.iterdir())):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped" in err
    assert "Traceback" not in err
    assert list(folder.iterdir()) == []


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


def test_damaged_frames_are_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, clip = carded(TWO_UINT8, tmp_path), make_clip(tmp_path / "clip.avi")
    content = bytearray(clip.read_bytes())
    chunk = content.index(b"00dc", len(content) // 2)  # a frame of an AVI: its mark, its size, its JPEG
    size = int.from_bytes(content[chunk + 4 : chunk + 8], "little")
    content[chunk + 8 : chunk + 8 + size] = bytes(size)
    clip.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["video", str(clip), "--out", str(tmp_path / "out.mkv"), "--model", str(model)])
    summary, complaint = capfd.readouterr()
    assert stopped.value.code == 1
    done, damaged = re.search(r"(\d+) frames", summary), re.search(r"(\d+) of its frames (?:is|are) damaged", complaint)
    assert done
    assert damaged
    assert int(damaged[1]) >= 1
    assert int(done[1]) + int(damaged[1]) == FRAMES


def test_messages_name_the_users_file(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    for out in (tmp_path / "x.docx", tmp_path / "noext"):
        with pytest.raises(UsageError, match=rf"^{out}: a video's name"):
            segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=f"^{tmp_path / 'folder.mp4'}"):
        segment_video(clip, tmp_path / "folder.mp4", segmenter, EffectSettings("overlay"), True)
    with pytest.raises(SourceError, match="a folder"):
        segment_video(tmp_path, tmp_path / "out.mp4", segmenter, EffectSettings("overlay"), False)


def flash_and_beep_s(path: Path) -> tuple[float, float]:
    """When the first bright picture is shown, and when the sound is first loud."""
    with av.open(str(path)) as container:
        flash = next(f.time for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 120)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64)).max(axis=0)
            full = 32768 if frame.format.name.startswith("s16") else 1
            if (loud > 0.1 * full).any():
                return flash, frame.time + int(np.argmax(loud > 0.1 * full)) / frame.sample_rate
    raise AssertionError("no beep")


def flash_at_one_second(number: int) -> np.ndarray:
    return np.full((SD[1], SD[0], 3), 255 if 25 <= number < 30 else 10, np.uint8)


@pytest.mark.parametrize("late_s", [0.0, 0.5])
@pytest.mark.parametrize(
    ("made", "suffix"), [(".mp4", ".mp4"), (".mp4", ".mkv"), (".mkv", ".webm"), (".ts", ".mp4"), (".mkv", ".avi")]
)
def test_flash_and_beep_stay_together(
    tmp_path: Path, segmenter: Segmenter, made: str, suffix: str, late_s: float
) -> None:
    form = Clip(frames=50, beep_s=1.0, sound_from_s=late_s)
    clip = write_video(tmp_path / f"in{made}", form, flash_at_one_second)
    out = tmp_path / f"out{suffix}"
    outcome = segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
    assert outcome.complaint == ""
    (flash, beep), (flash_in, beep_in) = flash_and_beep_s(out), flash_and_beep_s(clip)
    assert beep - flash == pytest.approx(beep_in - flash_in, abs=0.02 if suffix != ".avi" else 0.045)
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50


def test_uneven_frames_keep_their_times(tmp_path: Path, segmenter: Segmenter) -> None:
    shown_s = [0, 0.04, 0.08, 0.5, 0.54, 1.2, 1.21]
    clip = write_video(tmp_path / "in.mkv", Clip(times_s=shown_s), flash_at_one_second)
    for suffix in (".mp4", ".mkv"):
        out = tmp_path / f"out{suffix}"
        segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
        with av.open(str(out)) as container:
            assert [frame.time for frame in container.decode(video=0)] == pytest.approx(shown_s, abs=0.002)


def test_rounded_timestamps_of_evenly_spaced_frames_are_corrected() -> None:
    even = EvenTimes(SourceInfo("", SD, 30000 / 1001))
    times = [even(0.4 + round(number * 1001 / 30000, 3)) for number in range(200_000)]
    assert np.abs(np.diff(times) - 1001 / 30000).max() < 1e-9


@pytest.mark.parametrize(("name", "pixels"), [("a.webm", ""), ("a.mov", "yuva444p"), ("a.gif", ""), ("f%04d.png", "")])
def test_a_cutout_is_really_transparent(tmp_path: Path, segmenter: Segmenter, name: str, pixels: str) -> None:
    clip = make_clip(tmp_path / "in.avi", frames=3)
    out = tmp_path / name
    segment_video(clip, out, segmenter, EffectSettings("cutout"), False)
    alpha = read_alpha(out)
    assert alpha[32, 48] > 200
    assert alpha[2, 2] < 50


def read_alpha(path: Path) -> np.ndarray:
    if "%" in path.name:
        return cv2.imread(str(path.with_name(path.name % 1)), cv2.IMREAD_UNCHANGED)[..., 3]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if path.suffix != ".webm":
            return next(container.decode(stream)).to_ndarray(format="rgba")[..., 3]
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own VP9 decoder leaves the alpha out
        for packet in container.demux(stream):
            for frame in decoder.decode(packet):
                return frame.to_ndarray(format="rgba")[..., 3]
    raise AssertionError(path)


def test_formats_without_transparency_are_refused(tmp_path: Path, clip: Path, segmenter: Segmenter) -> None:
    for name in ("a.mp4", "a.mkv", "f%04d.jpg"):
        with pytest.raises(UsageError, match=r"can't be transparent; name it \.webm"):
            segment_video(clip, tmp_path / name, segmenter, EffectSettings("cutout"), False)


def test_an_mp4_plays_everywhere_and_its_index_comes_first(tmp_path: Path, segmenter: Segmenter) -> None:
    clip = write_video(tmp_path / "in.mkv", Clip(frames=10, beep_s=0.2, sound="flac"), flash_at_one_second)
    out = tmp_path / "out.mp4"
    outcome = segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
    content = out.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(out)) as container:
        film = container.streams.video[0].codec_context
        assert (film.name, film.pix_fmt, film.colorspace, film.color_range) == ("h264", "yuv420p", 6, 1)
        assert container.streams.audio[0].codec_context.name == "aac"
    assert "re-encoded as aac" in outcome.sound


def test_title_date_chapters_and_every_sound_are_kept(tmp_path: Path, segmenter: Segmenter) -> None:
    form = Clip(frames=25, beep_s=0.2, sounds=2, title="A lesson")
    clip = write_video(tmp_path / "in.mkv", form, flash_at_one_second)
    for suffix in (".mkv", ".mp4"):
        out = tmp_path / f"out{suffix}"
        outcome = segment_video(clip, out, segmenter, EffectSettings("overlay"), False)
        assert "2 audio tracks were kept" in outcome.sound
        with av.open(str(out)) as container:
            assert container.metadata.get("title", container.metadata.get("TITLE")) == "A lesson"
            assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one", "two"]
            assert [sound.metadata.get("language") for sound in container.streams.audio] == ["eng", "deu"]


def test_quality_is_chosen(tmp_path: Path, segmenter: Segmenter) -> None:
    clip = write_video(tmp_path / "in.mp4", Clip(frames=10, texture=True), flash_at_one_second)
    sizes = []
    for crf in (45, 10):
        segment_video(clip, tmp_path / "out.mp4", segmenter, EffectSettings("overlay"), True, crf=crf)
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes[0] < sizes[1] / 2
    with pytest.raises(UsageError, match="--crf must be 0 to 51"):
        segment_video(clip, tmp_path / "b.mp4", segmenter, EffectSettings("overlay"), False, crf=60)
    with pytest.raises(UsageError, match="--crf is not supported"):
        segment_video(clip, tmp_path / "b.gif", segmenter, EffectSettings("overlay"), False, crf=20)


def test_numbered_pictures_in_and_out(tmp_path: Path, segmenter: Segmenter) -> None:
    clip = make_clip(tmp_path / "in.avi", frames=4)
    folder = tmp_path / "new"
    segment_video(clip, folder / "f%04d.jpg", segmenter, EffectSettings("mask"), False)
    assert sorted(path.name for path in folder.iterdir()) == [f"f{number:04d}.jpg" for number in range(1, 5)]
    with pytest.raises(OutputError, match=r"f0001\.jpg already exists"):
        segment_video(clip, folder / "f%04d.jpg", segmenter, EffectSettings("mask"), False)
    out = tmp_path / "100%d.mp4"  # not a picture's name
    outcome = segment_video(folder / "f%04d.jpg", out, segmenter, EffectSettings("mask"), False, fps=10)
    frames, fps = read_clip(out)
    assert (len(frames), fps) == (4, pytest.approx(10))
    assert (outcome.sound, outcome.complaint) == ("pictures have no sound", "")


def test_a_video_is_the_background_and_is_repeated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = carded(TWO_UINT8, tmp_path)
    clip = write_video(tmp_path / "clip.mp4", Clip(frames=10, fps=10), lambda number: bright_square((240, 320)))
    background = write_video(
        tmp_path / "background.mp4",
        Clip(frames=3, fps=5),
        lambda number: np.full((240, 320, 3), 40 + 60 * number, np.uint8),
    )
    out = tmp_path / "out.mp4"
    arguments = ["video", str(clip), "--out", str(out), "--model", str(model), "--crf", "1"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, "--effect", "replace", "--background", str(background)])
    assert (stopped.value.code or 0, capfd.readouterr()[1]) == (0, "")
    frames, _ = read_clip(out)
    shades = [round((int(frame[:20].mean()) - 40) / 60) for frame in frames]
    assert shades == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]
    assert all(frame[120, 160].min() > 200 for frame in frames), "the square is in front"
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, "--effect", "replace", "--background", str(tmp_path / "none.gif"), "--force"])
    assert stopped.value.code == 1
    assert "none.gif: doesn't exist" in capfd.readouterr()[1]


def subtitled(path: Path) -> Path:
    """A clip with two lines of subtitles, as FFmpeg writes SRT into Matroska."""
    plain = write_video(path.with_suffix(".plain.mkv"), Clip(frames=50, beep_s=1.0), flash_at_one_second)
    lines = path.with_suffix(".srt")
    lines.write_text("1\n00:00:00,200 --> 00:00:01,000\nHello, <i>you</i>\n\n2\n00:00:01,200 --> 00:00:01,900\nWörld\n")
    given = ["-i", str(plain), "-i", str(lines), "-map", "0", "-map", "1", "-metadata:s:s:0", "language=eng"]
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *given, "-c", "copy", "-c:s", "srt", str(path)], check=True)
    return path


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "srt"), (".mp4", "mov_text"), (".webm", "webvtt")])
def test_subtitles_are_kept_in_the_containers_own_form(
    tmp_path: Path, segmenter: Segmenter, suffix: str, codec: str
) -> None:
    out = tmp_path / f"out{suffix}"
    outcome = segment_video(subtitled(tmp_path / "in.mkv"), out, segmenter, EffectSettings("overlay"), False)
    assert "left out" not in outcome.sound
    with av.open(str(out)) as container:
        (stream,) = container.streams.subtitles
        assert (stream.codec_context.name, stream.metadata.get("language")) == (codec, "eng")
        packets = [(float(p.pts * p.time_base), p.decode()) for p in container.demux(stream) if p.size > 2]
    assert [at_s for at_s, _ in packets] == pytest.approx([0.2, 1.2], abs=0.03)
    lines = [re.sub(r"\{.*?\}", "", texts[0].dialogue.decode()) for _, texts in packets]
    assert lines == ["Hello, you", "Wörld"]


def test_subtitles_that_the_container_can_not_hold_are_reported(tmp_path: Path, segmenter: Segmenter) -> None:
    out = tmp_path / "out.ts"
    outcome = segment_video(subtitled(tmp_path / "in.mkv"), out, segmenter, EffectSettings("overlay"), False)
    assert "1 subtitle left out, as .ts can't hold them" in outcome.sound


def test_with_a_lookahead_every_frame_comes_with_its_own_mask(clip: Path, tmp_path: Path) -> None:
    model, out, stats = carded(TWO_UINT8, tmp_path), tmp_path / "out.mp4", tmp_path / "stats.json"
    with pytest.raises(SystemExit) as stopped:
        cli.main(
            ["video", str(clip), "--out", str(out), "--model", str(model), "--lookahead", "3", "--stats", str(stats)]
        )
    assert not stopped.value.code
    frames, _ = read_clip(out)
    assert np.allclose([frame[:6].mean() / 2.5 for frame in frames], range(FRAMES), atol=2)
    assert json.loads(stats.read_text())["frames"]["published"] == FRAMES
