"""An MP4 or MOV that was recorded in fragments, with one index at its front: it can then be searched at once."""

from __future__ import annotations

import threading
from pathlib import Path

from seg_edge.errors import OutputError
from seg_edge.sources.video_container import import_av, open_container, reason_of
from seg_edge.system.files import atomic_write


def put_index_first(path: Path, given_up: threading.Event) -> None:
    """Copies a file's packets into a new one that takes its place; nothing is encoded anew.

    Args:
        path: The file; as it was where that fails.
        given_up: Once set, the file stays as it was.

    Raises:
        OutputError: It can't be written.
    """
    av = import_av(OutputError)
    try:
        with atomic_write(path) as temporary:
            form = "mov" if path.suffix.lower() == ".mov" else "mp4"
            place = f"file:{temporary.absolute()}"
            with (
                open_container(path) as old,
                av.open(place, "w", format=form, options={"movflags": "+faststart"}) as new,
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
            f"{path}: is there and plays, but its index can't be put first ({reason_of(error)})."
        ) from error
    except OutputError:
        if not given_up.is_set():
            raise
