"""Video files: every frame as a player shows it, at its time, and none that the decoder did not deliver."""

import functools
import http.server
import itertools
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sinks.video_file import VideoFile
from seg_edge.sources.open import open_source
from seg_edge.sources.source import SourceFrame, SourceRequest
from seg_edge.sources.video_container import SteadyClock
from seg_edge.sources.video_file import VideoFileSource
from seg_edge.sources.video_filters import _turn
from tests.clips import SD, Clip, bars_bgr, interlaced_bgr, write_video
from tests.stand_in_cameras import numbered, read_number, write_clip

INPUT_WH = (32, 24)
CASES = Path(__file__).parents[4] / "shared" / "cases" / "video"


def opened(
    name: object, size_wh: tuple[int, int] | None = None, fps: float | None = None, live: bool = False
) -> VideoFileSource:
    return VideoFileSource(SourceRequest(str(name), INPUT_WH, size_wh, fps, live))


def refusal(name: object, **asked: object) -> str:
    with pytest.raises(SourceError) as raised:
        opened(name, **asked)  # type: ignore[arg-type]
    message = str(raised.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def case(name: str) -> Path:
    if not (CASES / name).is_file():
        pytest.skip(f"no such case here: {CASES / name} is missing")
    return CASES / name


def times(frames: list[SourceFrame]) -> np.ndarray:
    return np.array([frame.at_s for frame in frames])


def test_every_frame_of_a_file_comes_once_and_in_order(tmp_path: Path) -> None:
    source = opened(write_clip(tmp_path / "clip.mp4", frames=30, fps=25))
    assert source.info.description == f"{tmp_path}/clip.mp4, 64x48 at 25 fps"
    assert (source.info.fps, source.info.frames) == (25, 30)
    assert [read_number(source_frame.frame) for source_frame in source] == list(range(30))


def test_a_file_keeps_its_colours(tmp_path: Path) -> None:
    frame = next(iter(opened(write_clip(tmp_path / "clip.avi")))).frame
    np.testing.assert_allclose(frame[-3, 20], numbered(0)[-3, 20], atol=12)


def test_a_live_file_keeps_its_own_time(tmp_path: Path) -> None:
    source_frames = list(opened(write_clip(tmp_path / "clip.avi", frames=21, fps=50), live=True))
    captured = np.array([source_frame.captured for source_frame in source_frames])
    assert captured[-1] - captured[0] >= 20 / 50 - 1e-6
    assert list(opened(tmp_path / "clip.avi", fps=500, live=True))[-1].captured < time.monotonic()
    assert opened(tmp_path / "clip.avi", fps=500, live=True).info.fps == 500


def test_a_file_is_scaled_down_to_fit_but_never_up(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", size_wh=(160, 120))
    for size_wh, is_wh in (((80, 80), (80, 60)), ((640, 480), (160, 120))):
        source = opened(clip, size_wh)
        frame = next(iter(source)).frame
        assert (frame.shape[1], frame.shape[0]) == source.info.size_wh == is_wh


def test_a_broken_frame_in_the_middle_does_not_end_a_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames=40)
    content = bytearray(clip.read_bytes())
    starts = [match.start() for match in re.finditer(rb"\xff\xd8\xff", content)]
    for start in starts[20:23]:
        content[start : start + 200] = bytes(200)
    clip.write_bytes(content)
    source = opened(clip)
    assert [read_number(source_frame.frame) for source_frame in source] == [*range(20), *range(23, 40)]
    assert source.complaint == "3 of its frames are damaged and could not be decoded"


def test_a_file_that_was_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames=40)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    source = opened(clip)
    assert 5 < len(list(source)) < 35
    assert source.complaint


def test_files_that_are_not_a_video_are_refused_in_a_sentence(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(np.random.default_rng(0).bytes(20_000))
    assert refusal(junk).startswith(f"{junk}: is not a video")
    text = tmp_path / "notes.txt"
    text.write_text("not a video\n" * 50)
    assert "is not a video" in refusal(text)
    assert "doesn't exist" in refusal(tmp_path / "gone.mp4")


def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.avi")
    monkeypatch.chdir(tmp_path)
    for name in ("http:0.avi", "clip%03d.avi", "clip01.avi"):
        shutil.copy(clip, name)
        assert len(list(opened(name))) == 20


def test_nothing_is_written_to_stderr(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(np.random.default_rng(0).bytes(20_000))
    clip = write_clip(tmp_path / "clip.avi", frames=40)
    content = bytearray(clip.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    clip.write_bytes(content)
    code = f"""
from seg_edge.sources.open import open_source
from seg_edge.sources.source import SourceRequest
for name in {[str(junk), str(clip), "http://127.0.0.1:9/x", "/dev/video99"]!r}:
    try:
        list(open_source(SourceRequest(name, (32, 24), live=False)))
    except Exception as error:
        print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == ["SourceError"] * 3


@pytest.mark.parametrize("name", ["no", "please", "school"])
def test_real_clips(name: str, shared_data: Path) -> None:
    clip = shared_data / "video" / f"{name}.mkv"
    if not clip.is_file():
        pytest.skip(f"no real clips here: {clip} is missing")
    source = opened(clip)
    assert (source.info.size_wh, source.info.fps) == ((640, 480), 30)
    frames = list(source)
    assert source.info.frames is not None
    assert (
        abs(len(frames) - source.info.frames) <= 1
    )  # Matroska stores no count: it is estimated from the duration and the rate
    assert {source_frame.frame.shape for source_frame in frames} == {(480, 640, 3)}


def test_a_video_file_on_a_web_server_has_an_end(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames=15)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        source = open_source(SourceRequest(f"http://127.0.0.1:{server.server_port}/clip.mp4", INPUT_WH, fps=100))
        assert (source.info.endless, source.info.frames) == (False, 15)
        assert [read_number(source_frame.frame) for source_frame in source] == list(range(15))
        source.close()
        server.shutdown()


def test_interlaced_pictures_are_deinterlaced(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.mts", Clip(interlaced=True, frames=20), interlaced_bgr)
    source = opened(clip)
    frames = list(source)
    assert (len(frames), source.complaint) == (20, "")
    for number, frame in enumerate(frames[2:-2], 2):
        wanted = interlaced_bgr(2 * number)[::2]
        got = frame.frame[::2]
        assert np.abs(got.astype(int) - wanted).mean() < 12, number  # its own field, neither black nor the previous one
        rows = frame.frame.astype(int)
        comb = np.abs(rows[1:-1:2] - (rows[:-2:2] + rows[2::2]) / 2).mean()
        assert comb < 6, "no combs"


def test_progressive_pictures_between_interlaced_ones_stay_unchanged(tmp_path: Path) -> None:
    """A broadcast switches between the two; no frame is lost where it does."""
    parts = [
        write_video(tmp_path / "p.ts", Clip(frames=10), numbered_bgr),
        write_video(tmp_path / "i.ts", Clip(frames=10, interlaced=True), interlaced_bgr),
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(opened(joined))
    assert len(frames) == 20
    assert [read_number(frame.frame) for frame in frames[:10]] == list(range(10))
    assert np.all(np.diff(times(frames)) > 0)


def numbered_bgr(number: int) -> np.ndarray:
    return numbered(number, SD)


def test_square_pixels(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.mp4", Clip(aspect=(4, 3)), numbered_bgr)
    source = opened(clip)
    assert source.info.size_wh == (round(SD[0] * 4 / 3), SD[1])
    assert next(iter(source)).frame.shape == (SD[1], round(SD[0] * 4 / 3), 3)


@pytest.mark.parametrize(
    ("matrix", "full", "size_wh"),
    [(1, False, SD), (6, False, SD), (1, True, SD), (2, False, SD), (2, False, (1280, 720))],
)
def test_colours_are_read_as_they_are_tagged(tmp_path: Path, matrix: int, full: bool, size_wh: tuple[int, int]) -> None:
    """2 is untagged: BT.601 in SD, BT.709 in HD, as players guess."""
    form = Clip(frames=3, matrix=matrix, full_range=full, size_wh=size_wh, codec="ffv1", pixels="yuv444p")
    clip = write_video(tmp_path / "a.mkv", form, lambda _: bars_bgr(size_wh))
    frame = next(iter(opened(clip))).frame
    assert np.abs(frame.astype(int) - bars_bgr(size_wh)).max() <= 3


@pytest.mark.parametrize(("turn", "corner_xy"), [(90, (0, -1)), (-90, (-1, 0)), (180, (-1, -1))])
def test_a_phones_turned_video_comes_upright(tmp_path: Path, turn: int, corner_xy: tuple[int, int]) -> None:
    """`turn` is anticlockwise; the mark is in the stored picture's top left corner."""

    def marked(_: int) -> np.ndarray:
        picture = np.zeros((SD[1], SD[0], 3), np.uint8)
        picture[:40, :40] = 255
        return picture

    frame = next(iter(opened(write_video(tmp_path / "a.mp4", Clip(turn=turn), marked)))).frame
    assert frame.shape == ((SD[1], SD[0], 3) if turn == 180 else (SD[0], SD[1], 3))
    inside = [20 if at == 0 else -20 for at in corner_xy]
    assert frame[inside[1], inside[0]].min() > 200
    assert frame[-inside[1], -inside[0]].max() < 50


def test_a_turn_is_found_even_if_iterating_gives_only_the_kinds() -> None:
    """Since PyAV 19, which Python 3.12 and later get, iterating gives the kinds; before, it gave the data."""
    matrix = np.array([[0, 1 << 16, 0], [-1 << 16, 0, 0], [0, 0, 1 << 30]], "<i4").tobytes()
    assert _turn(SimpleNamespace(side_data={"A53_CC": b"", "DISPLAYMATRIX": matrix})) == ["transpose=clock"]
    assert _turn(SimpleNamespace(side_data={"A53_CC": b""})) == []


def test_frames_keep_their_times(tmp_path: Path) -> None:
    shown_s = [0, 0.04, 0.08, 0.5, 0.54, 1.2, 1.21]
    clip = write_video(tmp_path / "a.mkv", Clip(times_s=shown_s), numbered_bgr)
    assert times(list(opened(clip))) == pytest.approx(shown_s, abs=0.002)


def test_a_cover_is_not_the_video(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.mkv", Clip(frames=5, cover=True), numbered_bgr)
    assert len(list(opened(clip))) == 5


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".webm"])
def test_a_file_that_is_cut_short_says_so(tmp_path: Path, suffix: str) -> None:
    whole = write_video(tmp_path / f"a{suffix}", Clip(frames=100), numbered_bgr)
    assert opened(whole).complaint == ""
    source = opened(whole)
    assert len(list(source)) == 100
    assert source.complaint == ""
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    source = opened(cut)
    frames = list(source)
    assert 20 < len(frames) < 90
    assert source.complaint


def test_a_damaged_frame_is_counted_and_not_shown(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.mp4", Clip(frames=60, texture=True), numbered_bgr)
    content = bytearray(clip.read_bytes())
    for start in range(len(content) // 4, len(content) - 300, len(content) // 8):  # the effect of a single one varies
        content[start : start + 300] = bytes(300)
    clip.write_bytes(content)
    source = opened(clip)
    assert 0 < len(list(source)) < 60
    assert re.fullmatch(r"\d+ of its frames (?:is|are) damaged and could not be decoded", source.complaint)


def test_frames_of_another_size_are_fitted_into_the_first_s(tmp_path: Path) -> None:
    parts = []
    for size_wh in ((320, 240), (640, 240)):
        bars = bars_bgr(size_wh)
        clip = Clip(frames=5, size_wh=size_wh)
        parts.append(write_video(tmp_path / f"{size_wh[0]}.ts", clip, lambda number, bars=bars: bars))  # type: ignore[misc]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = [frame.frame for frame in opened(both)]
    assert [frame.shape for frame in frames] == [(240, 320, 3)] * 10
    assert frames[9][:56].max() < 3
    assert np.abs(frames[9][120].astype(int) - frames[0][120]).mean() < 6, "as wide as the first, half as high"


def test_the_time_goes_on_where_recordings_were_joined() -> None:
    clock = SteadyClock(0.04, 10.0)
    given = [10, 10.04, 10.08, 5000, 5000.04, None, 3, 3.04, 3.04, 2.5, 2.54]
    wanted = [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 0.281, 0.321, 0.361]
    assert [clock(time) for time in given] == pytest.approx(wanted)


def test_cases_with_edit_lists_and_square_pixels() -> None:
    source = opened(case("trim.mp4"))
    assert len(list(source)) == 90
    assert source.complaint == ""
    assert opened(case("sar.mp4")).info.size_wh == (640, 480)


def test_the_interlaced_case() -> None:
    source = opened(case("avchd.mts"))
    frames = [frame.frame for frame in source]
    assert (len(frames), source.complaint) == (50, "")
    assert min(frame.mean() for frame in frames) > 20, "none is black"
    assert min(np.abs(first.astype(int) - second).mean() for first, second in itertools.pairwise(frames)) > 0.01, (
        "none is stale"
    )


def test_without_pyav_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install -U av" in refusal(write_clip(tmp_path / "clip.mp4"))


def test_an_old_pyav_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(__version__="10.0.0"))  # Debian 12's
    assert "need PyAV 14 or newer, this is 10.0.0; run `pip install -U av`" in refusal(path)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_clip_so_short_that_the_decoder_holds_all_of_it_back(tmp_path: Path, frames: int) -> None:
    path = write_video(tmp_path / "short.mp4", Clip(frames=frames, times_s=[0.0, 0.3, 0.7][:frames]), numbered_bgr)
    assert np.allclose(times(list(opened(path))), [0.0, 0.3, 0.7][:frames], atol=0.001)


def test_transparency_is_shown_over_white(tmp_path: Path) -> None:
    picture = np.full((240, 320, 4), (200, 40, 40, 255), np.uint8)
    picture[:, 160:, 3] = 0
    with VideoFile(tmp_path / "clip.mov", (320, 240), 10, transparent=True) as film:
        film.write(picture)
    (shown,) = opened(film.path)
    assert np.abs(shown.frame[120, 40].astype(int) - (200, 40, 40)).max() < 8
    assert shown.frame[120, 280].min() > 250


def test_transparency_of_webm_is_shown_over_white(tmp_path: Path) -> None:
    picture = np.full((240, 320, 4), (200, 40, 40, 255), np.uint8)
    picture[:, 160:, 3] = 0
    with VideoFile(tmp_path / "clip.webm", (320, 240), 10, transparent=True) as film:
        for _ in range(3):
            film.write(picture)
    shown = list(opened(film.path))
    assert len(shown) == 3
    assert np.abs(shown[2].frame[120, 40].astype(int) - (200, 40, 40)).max() < 12
    assert shown[2].frame[120, 280].min() > 240


def test_a_clock_that_wraps_is_not_a_file_cut_short(tmp_path: Path) -> None:
    wraps_s = 2**33 / 90000
    path = write_video(
        tmp_path / "wraps.ts", Clip(times_s=[wraps_s - 1 + number / 25 for number in range(50)]), numbered_bgr
    )
    source = opened(path)
    assert times(list(source)) == pytest.approx(np.arange(50) / 25, abs=0.002)
    assert source.complaint == ""
