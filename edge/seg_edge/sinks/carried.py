"""The streams that a video keeps from its original: audio, subtitles, chapters, title and date, each at its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from seg_edge.sinks.video_file import VideoFile
from seg_edge.sinks.video_formats import Format, video_format
from seg_edge.sources.video_container import SteadyClock, beginning_s, open_container, reason_of

ENCODERS = {"opus": "libopus", "mp3": "libmp3lame"}
RATES = {"libopus": {48000}, "libmp3lame": {44100, 48000}, "aac": {44100, 48000}}
KEPT = ("title", "artist", "date", "creation_time", "comment", "description", "copyright")
PACKET_S = 0.02
PLAIN_TEXT = ("subrip", "ass", "webvtt", "text", "mov_text")
# The header that FFmpeg's own plain-text decoders write: it defines the style that their lines name.
STYLE = {
    "Name": "Default", "Fontname": "Arial", "Fontsize": "16", "PrimaryColour": "&Hffffff",
    "SecondaryColour": "&Hffffff", "OutlineColour": "&H0", "BackColour": "&H0", "Bold": "0", "Italic": "0",
    "Underline": "0", "StrikeOut": "0", "ScaleX": "100", "ScaleY": "100", "Spacing": "0", "Angle": "0",
    "BorderStyle": "1", "Outline": "1", "Shadow": "0", "Alignment": "2", "MarginL": "10", "MarginR": "10",
    "MarginV": "10", "Encoding": "1",
}  # fmt: skip
ASS_HEADER = f"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: {", ".join(STYLE)}
Style: {",".join(STYLE.values())}

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
""".replace("\n", "\r\n").encode()


class CarriedStreams:
    """Adds the streams of one video to another, and muxes them in step with its pictures.

    Audio in a codec that the container supports is copied, other audio is re-encoded; all of it stays in sync with the
    pictures.

    Args:
        original: The video that has the streams.
        film: The new video; nothing has been written to it yet.

    Attributes:
        sound: What happened to the sound, for the user, without a capital or a full stop.
        left_out: What the container doesn't support, such as `2 subtitles`; empty if nothing.
    """

    def __init__(self, original: Path, film: VideoFile):
        self._film, self._form = film, video_format(film.path)
        self._container = open_container(original)
        origin_s = beginning_s(self._container)
        carriers: dict[int, _Copy | _Encode | _Texts] = {}
        sounds = [s for s in self._container.streams.audio if s.codec_context is not None]
        reencoded = ""
        for stream in sounds if self._form.sound else []:
            if _codec(stream) in self._form.sound and self._form.dated:
                carriers[stream.index] = _Copy(film, stream, origin_s, self._form.container in ("mp4", "mov"))
            else:
                carriers[stream.index] = _Encode(film, stream, origin_s, self._form)
                reencoded = f", re-encoded as {self._form.sound[0]}"
        subtitles = list(self._container.streams.subtitles)
        kept = [s for s in subtitles if s.codec_context is not None and _codec(s) in self._form.subtitles]
        for stream in kept:
            carriers[stream.index] = _Copy(film, stream, origin_s, False)
        for stream in [s for s in subtitles if s not in kept and _can_be_converted(s, self._form)]:
            carriers[stream.index] = _Texts(film, stream, origin_s, self._form.subtitles[0])
            kept.append(stream)
        self._carriers = carriers
        self._keep_texts(origin_s)
        unknown = len(self._container.streams.audio) - len(sounds)
        lost = [(unknown, "undecodable audio tracks"), (len(subtitles) - len(kept), "subtitles")]
        self.left_out = " and ".join(f"{count} {noun[:-1] if count == 1 else noun}" for count, noun in lost if count)
        subject = f"{len(sounds)} audio tracks were" if len(sounds) > 1 else "the sound was"
        self.sound = f"{subject} kept{reencoded}" if carriers and sounds else ""
        if not self._container.streams.audio:
            self.sound = "the original has no sound"
        elif not self.sound:
            self.sound = f"the sound was left out, as {film.path.suffix} can't hold any"
        self._heard = False
        self._packets = self._demux()
        self._next = next(self._packets, None)

    def mux_until(self, at_s: float) -> None:
        """Muxes the sound and text up to a time, in seconds from the beginning.

        Raises:
            OutputError: It can't be written.
        """
        while self._next is not None:
            packet, due_s = self._next
            if due_s > at_s:
                return
            self._carriers[packet.stream_index].mux(packet)
            self._heard |= packet.stream.type == "audio"
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Muxes the rest; errors as for `mux_until`."""
        self.mux_until(float("inf"))
        for carrier in self._carriers.values():
            carrier.finish()
        if not self._heard and any(self._container.streams[index].type == "audio" for index in self._carriers):
            self.sound = "the file contains none of its sound"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _demux(self) -> Iterator[tuple[Any, float]]:
        streams = [self._container.streams[index] for index in self._carriers]
        if not streams:
            return
        due_s = 0.0
        try:
            for packet in self._container.demux(streams):
                if packet.size:
                    carrier = self._carriers[packet.stream_index]
                    due_s = carrier.clock(None if packet.pts is None else float(packet.pts * packet.time_base))
                    yield packet, due_s
        except (OSError, ValueError) as error:  # damage ends it; the pictures' reader reports it
            self.sound += f" up to {due_s:.1f} s ({reason_of(error)})"

    def _keep_texts(self, origin_s: float) -> None:
        out, texts = self._film.container, self._container.metadata
        out.metadata.update({key: value for key, value in texts.items() if key.lower() in KEPT})
        chapters = self._container.chapters() if self._form.chapters else []
        for chapter in chapters:
            shift = round(origin_s / chapter["time_base"])
            chapter["start"], chapter["end"] = max(0, chapter["start"] - shift), max(0, chapter["end"] - shift)
        if chapters:
            out.set_chapters(chapters)


class _Copy:
    """A stream whose packets are copied unchanged."""

    def __init__(self, film: VideoFile, stream: Any, origin_s: float, edited: bool):
        self.clock = SteadyClock(PACKET_S, origin_s)
        self._film, self._edited = film, edited
        self._out = film.container.add_stream_from_template(stream)
        self._out.metadata.update(_language(stream))
        self._before: deque[Any] = deque(maxlen=1)
        self._begun = False

    def mux(self, packet: Any) -> None:
        """Muxes a packet. Of those that an edit list hides, the last is kept, still hidden, to start the decoder."""
        if packet.is_discard:
            if self._edited and not self._begun:
                self._before.append(packet)
            return
        self._begun = True
        for copied in (*self._before, packet):
            shift = round(self.clock.origin_s / copied.time_base)
            copied.pts = None if copied.pts is None else copied.pts - shift
            copied.dts = None if copied.dts is None else copied.dts - shift
            copied.stream = self._out
            self._film.mux(copied)
        self._before.clear()

    def finish(self) -> None:
        """Does nothing: nothing is held back."""


class _Encode:
    """An audio track that is decoded, made gapless, and re-encoded."""

    def __init__(self, film: VideoFile, stream: Any, origin_s: float, form: Format):
        self.clock = SteadyClock(PACKET_S, origin_s)
        self._film, self._stream = film, stream
        # Gaps become silence and overlaps are cut, as the encoder has no times between its frames. A container without
        # times doesn't know either when the sound begins.
        self._gapless = "async=1:min_hard_comp=0.01" + ("" if form.dated else ":first_pts=0")
        codec = form.sound[0]
        name = ENCODERS.get(codec, codec)
        source = stream.codec_context
        rates = RATES.get(name, {48000})
        rate = source.sample_rate if source.sample_rate in rates else 48000
        layout = source.layout.name if source.layout.name in ("mono", "stereo", "5.1", "7.1") else "stereo"
        if name == "libmp3lame" and layout != "mono":
            layout = "stereo"
        self._out = film.container.add_stream(name, rate=rate)
        self._out.codec_context.layout = layout
        self._out.metadata.update(_language(stream))
        self._av = film.av
        self._wanted = f"sample_rates={rate}:channel_layouts={layout}:sample_fmts={self._out.codec_context.format.name}"
        self._graph: Any = None

    def mux(self, packet: Any) -> None:
        """Encodes a packet's sound; None flushes the decoder."""
        try:
            frames = self._stream.codec_context.decode(packet)
        except (OSError, ValueError):  # damaged sound becomes silence
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - round(self.clock.origin_s / frame.time_base)
            if self._graph is None:
                self._graph = self._build(frame)
            self._graph.push(frame)
            self._pull()

    def finish(self) -> None:
        """Encodes what was held back."""
        self.mux(None)
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
        self._film.mux(self._out.encode(None))

    def _pull(self) -> None:
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return
            self._film.mux(self._out.encode(frame))

    def _build(self, frame: Any) -> Any:
        properties = (
            f"time_base={frame.time_base}:sample_rate={frame.sample_rate}:sample_fmt={frame.format.name}"
            f":channel_layout={frame.layout.name}"
        )
        graph = self._av.filter.Graph()
        steps = [("abuffer", properties), ("aresample", self._gapless), ("aformat", self._wanted)]
        size = self._out.codec_context.frame_size
        steps += [("asetnsamples", f"n={size}:p=0")] if size else []
        steps.append(("abuffersink", ""))
        graph.link_nodes(*(graph.add(name, arguments or None) for name, arguments in steps)).configure()
        return graph


class _Texts:
    """Subtitles that are converted to a codec that the container supports."""

    def __init__(self, film: VideoFile, stream: Any, origin_s: float, codec: str):
        self.clock = SteadyClock(PACKET_S, origin_s)
        self._film, self._stream = film, stream
        self._out = film.container.add_stream(codec)
        self._out.codec_context.subtitle_header = ASS_HEADER
        self._out.metadata.update(_language(stream))

    def mux(self, packet: Any) -> None:
        """Converts and muxes a packet's lines."""
        try:
            lines = [line.ass for line in packet.decode() if line.type == b"ass"]
        except (OSError, ValueError):  # a damaged line is left out
            return
        for line in lines:
            subtitle = self._film.av.subtitles.subtitle.SubtitleSet.create(line, 0, packet.duration, packet.pts)
            encoded = self._out.codec_context.encode_subtitle(subtitle)
            encoded.stream, encoded.time_base, encoded.duration = self._out, packet.time_base, packet.duration
            encoded.pts = encoded.dts = packet.pts - round(self.clock.origin_s / packet.time_base)
            self._film.mux(encoded)

    def finish(self) -> None:
        """Does nothing: nothing is held back."""


def _can_be_converted(stream: Any, form: Format) -> bool:
    import av

    can_create = hasattr(av, "subtitles") and hasattr(av.subtitles.subtitle.SubtitleSet, "create")  # from PyAV 17 on
    return can_create and stream.codec_context is not None and bool(form.subtitles) and _codec(stream) in PLAIN_TEXT


def _codec(stream: Any) -> str:
    return str(stream.codec_context.codec.canonical_name)


def _language(stream: Any) -> dict[str, str]:
    return {key: stream.metadata[key] for key in ("language", "title") if key in stream.metadata}
