"""The program of a decoder process, the only one in which libsndfile and FFmpeg open a file.

A file can kill, hang or exhaust at most the process that decodes it (`decoders` starts and watches it). It is run by
its path, not imported, and imports nothing of the package, so that it starts in a fifth of a second.

Requests come as lines of JSON on stdin. An answer is a number of messages on stdout, each a line of JSON that is
followed by as many bytes as its "bytes" says, and the last has "end" or "error".
"""

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Message = dict[str, Any]

_PIECE = 1 << 17
"""Samples that are sent at a time, in all channels."""
_DESCRIPTORS = 64
_MEMORY = 4 << 30
"""Bytes; a decoder needs some ten million."""
_DEMUXERS = (
    "aa,aac,aax,ac3,ac4,aiff,amr,amrnb,amrwb,ape,apm,asf,asf_o,au,avi,bonk,caf,dsf,dts,dtshd,dv,eac3,epaf,flac,flv,"
    "f4v,gsm,gxf,iff,ircam,kux,lc3,live_flv,loas,matroska,webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,"
    "mxf,nistsphere,nsv,nut,ogg,oma,osq,paf,pvf,qoa,rka,rm,rso,shn,sox,svx,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,"
    "xwma"
)
"""Formats that hold their sound themselves. Of the others many name files (hls, concat, dash, imf, image2, sdp), or
make up samples of anything (raw PCM, lavfi, trackers, games)."""
_SHORTEST_GAP, _LONGEST_GAP = 0.003, 10.0
"""Seconds: what is shorter is the rounding of timestamps, what is longer another recording's clock."""
_XIPH_ORDER = {
    3: [0, 2, 1], 5: [0, 2, 1, 3, 4], 6: [0, 2, 1, 5, 3, 4], 7: [0, 2, 1, 6, 5, 3, 4], 8: [0, 2, 1, 7, 5, 6, 3, 4],
}  # fmt: skip
"""Where Vorbis and Opus store the first, second, ... channel of other formats (Vorbis I specification, 4.3.9);
libsndfile keeps their order."""


class UnreadableError(Exception):
    """What a user is told of a file."""


class Part(io.RawIOBase):
    """A stretch of a file as a file of its own."""

    def __init__(self, path: str, start: int, stop: int) -> None:
        self._file, self._start, self._size = open(path, "rb", buffering=0), start, stop - start  # noqa: SIM115
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        return self._file.seek(self._start + max(0, base + offset)) - self._start

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        return self._file.readinto(view[: max(0, min(len(view), self._size - self.tell()))]) or 0

    def close(self) -> None:
        self._file.close()
        super().close()


class File:
    """A file, or a part of it, as a request names it."""

    def __init__(self, request: Message) -> None:
        self.path: str = request["path"]
        self.part: tuple[int, int] | None = request["part"]
        self.stream: int = request["stream"]

    def with_soundfile(self) -> soundfile.SoundFile | None:
        if self.stream:
            return None
        # In a string soundfile would expect UTF-8.
        plain = os.fsencode(self.path) if os.name == "posix" else self.path
        with suppress(soundfile.LibsndfileError):  # Not a format of libsndfile: FFmpeg may know it.
            return soundfile.SoundFile(Part(self.path, *self.part) if self.part else plain)
        return None

    def with_ffmpeg(self) -> Any:
        """A file opened by FFmpeg, as a local file whatever its name (`http:a.mp3`), with no playlist followed."""
        options = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
        source = Part(self.path, *self.part) if self.part else f"file:{self.path}"
        try:
            return av.open(source, options=options, metadata_errors="replace")
        except av.ArgumentError:
            raise UnreadableError("it is of no format that holds its sound itself") from None

    def audio_stream(self, container: Any) -> Any:
        if self.stream >= len(container.streams.audio):
            raise UnreadableError("it has no such audio stream")
        stream = container.streams.audio[self.stream]
        if stream.codec_context is None:
            raise UnreadableError("its codec is not known")
        return stream


def describe(file: File) -> Iterator[Message]:
    """Layout and tags, as FFmpeg tells them of all formats, even of a wav's INFO."""
    with file.with_ffmpeg() as container:
        names = [channel.name for channel in file.audio_stream(container).layout.channels]
        # Ogg has its tags with the stream, the others with the file.
        tags: dict[str, str] = {}
        for metadata in [*(stream.metadata for stream in container.streams.audio[:1]), container.metadata]:
            tags |= {name.lower(): value for name, value in metadata.items()}
        yield {"layout": names, "tags": tags}


def header(file: File) -> Iterator[Message]:
    """What is known of the samples before they are decoded."""
    if sound := file.with_soundfile():
        with sound:
            if sound.frames:
                yield _sound_header(sound)
                return
    with file.with_ffmpeg() as container:
        yield _stream_header(container, file.audio_stream(container))


def _sound_header(sound: soundfile.SoundFile) -> Message:
    return {
        "sample_rate": sound.samplerate, "channels": sound.channels, "encoding": sound.subtype,
        "format": sound.format, "by": "libsndfile", "log": sound.extra_info, "seekable": sound.seekable(),
        "length": sound.frames if sound.frames < 2**62 else None,  # A flac of a pipe does not tell.
    }  # fmt: skip


def _stream_header(container: Any, stream: Any) -> Message:
    length = None
    if stream.duration and stream.time_base and stream.rate:
        length = round(stream.duration * stream.time_base * stream.rate)
    return {
        "sample_rate": stream.rate, "channels": stream.channels, "encoding": stream.codec_context.name,
        "format": container.format.name, "by": "FFmpeg", "log": "", "seekable": False, "length": length,
    }  # fmt: skip


def decode(file: File, start: int, send: Callable[[Message, Samples], None]) -> Iterator[Message]:
    """The header, then the samples from `start`."""
    sound = file.with_soundfile()
    if sound is None or not sound.frames:
        with file.with_ffmpeg() as container:
            stream = file.audio_stream(container)
            frames = container.decode(stream)
            first = list(islice(frames, 1))
            yield _stream_header(container, stream)  # Of the first frame, where others are of another kind.
            yield from _send_stream(stream, chain(first, frames), 0, send)
        return
    with sound:
        yield _sound_header(sound)
        position = sound.seek(min(start, sound.frames)) if start else 0
        try:
            for samples in _read_sound(sound):
                send({"samples": len(samples)}, samples)
                position += len(samples)
        except soundfile.LibsndfileError as error:
            if not _continue(file, sound, position, send):
                raise UnreadableError(str(error)) from error


def _continue(file: File, sound: soundfile.SoundFile, position: int, send: Callable[[Message, Samples], None]) -> bool:
    """Whether FFmpeg could send the rest of what libsndfile can't read on; it must find no fault, then."""
    with suppress(av.FFmpegError, UnreadableError), file.with_ffmpeg() as container:
        stream = file.audio_stream(container)
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        same = (stream.rate, stream.channels) == (sound.samplerate, sound.channels)
        return same and not any(True for fault in _send_stream(stream, container.decode(stream), position, send))
    return False


def _read_sound(sound: soundfile.SoundFile) -> Iterator[Samples]:
    order = _XIPH_ORDER.get(sound.channels) if sound.subtype in ("VORBIS", "OPUS") else None
    size = max(1, _PIECE // sound.channels)
    while len(samples := sound.read(size, dtype="float32", always_2d=True)):
        yield samples if order is None else samples[:, order]


def _send_stream(
    stream: Any, frames: Iterable[Any], skip: int, send: Callable[[Message, Samples], None]
) -> Iterator[Message]:
    """Send what lies behind the first `skip` samples; say where timestamps have a gap or the kind of frames changes."""
    # Planes would be read beyond the eighth, where PyAV finds no pointer.
    packed, channels = av.AudioResampler(format="flt", layout=stream.layout, rate=stream.rate), stream.channels
    pending: list[Samples] = []
    expected: int | None = None
    position = -skip

    def flush() -> None:
        if pending:
            samples = np.concatenate(pending)
            pending.clear()
            send({"samples": len(samples)}, samples)

    for frame in chain(frames, [None]):
        if frame is not None and frame.pts is not None and frame.time_base:
            begin = round(frame.pts * frame.time_base * stream.rate)
            if expected is not None and (gap := _gap(begin - expected, frame, stream.rate)):
                flush()
                yield {"gap": gap}
                position += gap
            expected = begin
        if frame is not None and expected is not None:
            expected += frame.samples
        try:
            parts = packed.resample(frame)
        except ValueError:  # PyAV has no error of its own for a frame of another kind.
            flush()
            yield {"changes": True}
            return
        for part in parts:
            samples = part.to_ndarray().reshape(-1, channels).astype(np.float32, copy=False)
            position += len(samples)
            if position > 0:
                pending.append(samples[-position:])
        if sum(len(samples) for samples in pending) * channels >= _PIECE:
            flush()
    flush()


def _gap(jump: int, frame: Any, rate: int) -> int:
    """Samples that are missing before a frame which comes `jump` samples later than where the last one ended."""
    if not max(0.75 * frame.samples, _SHORTEST_GAP * rate) <= jump <= _LONGEST_GAP * rate:
        return 0
    frames = frame.samples * round(jump / frame.samples)  # A format that counts in milliseconds rounds.
    return frames if abs(frames - jump) <= 2 * float(frame.time_base) * rate else jump


def answer(request: Message, send: Callable[..., None]) -> None:
    """Send all messages of the answer to a request."""
    try:
        file = File(request)
        match request["do"]:
            case "describe":
                messages = describe(file)
            case "header":
                messages = header(file)
            case _:
                messages = decode(file, request["start"], send)
        for message in messages:
            send(message)
        send({"end": True})
    except UnreadableError as error:
        send({"error": str(error)})
    except av.FFmpegError as error:
        send({"error": error.strerror})
    except OSError as error:
        send({"error": error.strerror or str(error)})
    except MemoryError:
        send({"error": "it needs too much memory"})
    except ValueError as error:
        send({"error": str(error)})


def _limit() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))


def main() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends with the process that has started it.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # What a library prints is no answer.
    _limit()
    requests: SimpleQueue[bytes] = SimpleQueue()

    def receive(source: BinaryIO) -> None:
        for line in source:
            requests.put(line)
        os._exit(0)  # Even within a decoder that never returns.

    threading.Thread(target=receive, args=(sys.stdin.buffer,), daemon=True).start()

    def send(message: Message, samples: Samples | None = None) -> None:
        data = b"" if samples is None else np.ascontiguousarray(samples).tobytes()
        out.write(json.dumps({**message, "bytes": len(data)}).encode() + b"\n" + data)
        out.flush()

    with suppress(BrokenPipeError):
        while True:
            answer(json.loads(requests.get()), send)


if __name__ == "__main__":
    main()
