"""Moves the index of an MP4 or MOV that was recorded in fragments to its front, so that players can seek at once."""

from __future__ import annotations

import threading
from pathlib import Path

from seg_edge.errors import OutputError
from seg_edge.sources.video_container import import_av, open_container, reason_of
from seg_edge.system.files import atomic_write


def put_index_first(path: Path, given_up: threading.Event) -> None:
    """Copies a file's packets into a new file, which replaces it; nothing is re-encoded.

    Args:
        path: The file, which stays unchanged on an error.
        given_up: Once set, the copy stops and the file stays unchanged.

    Raises:
        OutputError: It can't be written.
    """
    av = import_av(OutputError)
    try:
        with atomic_write(path) as temporary:
            form = "mov" if path.suffix.lower() == ".mov" else "mp4"
            url = f"file:{temporary.absolute()}"
            with (
                open_container(path) as old,
                av.open(url, "w", format=form, options={"movflags": "+faststart"}) as new,
            ):
                outs = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
                for packet in old.demux():
                    if given_up.is_set():
                        raise InterruptedError
                    if packet.size:
                        packet.stream = outs[packet.stream_index]
                        new.mux(packet)
    except ValueError as error:
        raise OutputError(
            f"{path}: was written and plays, but its index can't be moved to the front ({reason_of(error)})."
        ) from error
    except OutputError:
        if not given_up.is_set():
            raise
