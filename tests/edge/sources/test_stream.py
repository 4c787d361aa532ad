"""Interlaced live streams: OpenCV repeats one picture forever, so PyAV reads them."""

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources.open import open_source
from seg_edge.sources.opencv import OpenCVSource
from seg_edge.sources.source import Source, SourceRequest
from seg_edge.sources.stream import StreamSource
from tests.clips import Clip, interlaced_bgr, write_video


def serve_stream(content: bytes, most: int, ended: threading.Event) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                for _ in range(most):
                    for start in range(0, len(content), 8192):
                        self.wfile.write(content[start : start + 8192])
                        if ended.wait(0.005):
                            return
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[object]:
    ended, servers = threading.Event(), []

    def open_clip(clip: Clip, picture, most: int = 50) -> Source:
        path = write_video(tmp_path / "clip.ts", clip, picture)
        servers.append(serve_stream(path.read_bytes(), most, ended))
        return open_source(SourceRequest(f"http://127.0.0.1:{servers[0].server_port}/live.ts", (32, 24)))

    yield open_clip
    ended.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_interlaced_stream_is_deinterlaced(opened) -> None:
    source = opened(Clip(frames=40, interlaced=True), interlaced_bgr)
    assert isinstance(source, StreamSource)
    assert source.info.endless
    assert "deinterlaced" in source.info.description
    frames = [source_frame.frame for source_frame in itertools.islice(source, 10)]
    source.close()
    assert all(frame.shape == (240, 320, 3) for frame in frames)
    assert all(np.abs(first.astype(int) - second).max() > 50 for first, second in itertools.pairwise(frames)), (
        "it moves"
    )
    for frame in frames:
        disc = frame[..., 2].astype(int) > 170
        assert 0.7 * np.pi * 30**2 < disc.sum() < 1.3 * np.pi * 30**2
        combed = np.abs(np.diff(disc.astype(int), axis=0)).sum(axis=0).max()
        assert combed <= 4, "a disc has one upper and one lower edge in each column"


def test_a_progressive_stream_stays_with_opencv(opened) -> None:
    source = opened(Clip(frames=40), interlaced_bgr)
    assert isinstance(source, OpenCVSource)
    source.close()


def test_an_interrupted_stream_is_an_error(opened) -> None:
    source = opened(Clip(frames=40, interlaced=True), interlaced_bgr, most=1)
    with pytest.raises(SourceError, match="was interrupted"):
        for _ in source:
            pass
    source.close()
