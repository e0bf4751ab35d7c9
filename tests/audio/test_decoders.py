"""What decodes files may crash, hang and eat: it is a process of its own, and the next file gets another one."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mdx_progressive.audio import decoders
from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.runtime.errors import MdxError
from tests.support.encoded_files import encode
from tests.support.processes import Running
from tests.support.signals import RATE, noise


def decoder_processes() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    found = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in found if b"decoder_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("name", "codec", "layout", "channels"),
    [
        ("a.m4a", "aac", "7.1", 8),
        ("a.mkv", "aac", "7.1", 8),
        ("a.m2ts", "aac", "7.1", 8),
        ("a.mka", "pcm_s16le", "7.1.4", 12),
        ("a.wv", "wavpack", "7.1", 8),
        ("b.wv", "wavpack", "10 channels", 10),
        ("a.mov", "pcm_f32le", "hexadecagonal", 16),
    ],
)
def test_any_number_of_channels(tmp_path: Path, name: str, codec: str, layout: str, channels: int) -> None:
    time = np.arange(RATE)[:, None] / RATE
    tones = 0.2 * np.sin(2 * np.pi * 200 * np.arange(1, channels + 1) * time)

    found, rate = AudioStream(encode(tmp_path / name, tones, codec, RATE, layout)).read()

    assert (len(found), rate) == (channels, RATE)
    loudest = torch.fft.rfft(found[:, 8192 : 8192 + RATE // 2].double()).abs().argmax(dim=-1)
    expected = set(range(100, 100 * channels + 1, 100))
    assert len(expected - set(loudest.tolist())) <= (codec == "aac")  # Its LFE has no high tones.


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile other.wav\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.wav\n#EXT-X-ENDLIST\n",
    "endless": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.wav\n",
    "itself": "ffconcat version 1.0\nfile song.mp3\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="x">'
    '<Period><AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1"><BaseURL>other.wav</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "sbg": "-SE\na: 200+10/50\nNOW a\n",
}


class TestPlaylists:
    """What names other files instead of holding sound itself is refused, whatever it is called."""

    @pytest.mark.parametrize("suffix", ["mp3", "m3u8", "mkv", "wav"])
    @pytest.mark.parametrize("text", PLAYLISTS)
    def test_none_is_followed(self, tmp_path: Path, text: str, suffix: str) -> None:
        soundfile.write(tmp_path / "other.wav", noise(0.5).T.numpy(), RATE)
        path = tmp_path / f"song.{suffix}"
        path.write_text(PLAYLISTS[text].replace("song.mp3", path.name))

        started = time.monotonic()
        for read in (AudioStream(path).header, AudioStream(path).read):
            with pytest.raises(MdxError, match=r"song\.\w+: no audio could be read from it"):
                read()
        assert AudioStream(path).layout() is None
        assert time.monotonic() - started < 10


def test_a_crash_while_a_file_is_read_is_one_line_and_the_next_is_read(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, noise(60).T.numpy(), RATE)
    pieces = AudioStream(tmp_path / "a.wav").pieces()
    next(pieces)

    [decoder] = [pid for pid in decoder_processes() if not _idles(pid)]
    os.kill(decoder, signal.SIGSEGV)

    with pytest.raises(MdxError, match=r"a.wav: is .* damaged at \d+\.\d\d s \(its decoder ended by SIGSEGV\)"):
        list(pieces)
    assert AudioStream(tmp_path / "b.wav").read()[0].shape[-1] == 60 * RATE


def _idles(pid: int) -> bool:
    return pid in [decoder._process.pid for decoder in decoders._idle.get(os.getpid(), [])]


def test_a_decoder_that_was_killed_while_it_waited_is_replaced(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1).T.numpy(), RATE)
    for _ in range(3):
        assert AudioStream(tmp_path / "a.wav").length() == RATE
        for pid in decoder_processes():
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.skipif(sys.platform != "linux", reason="limits are read from /proc")
def test_decoders_have_little_memory_and_few_descriptors(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.1).T.numpy(), RATE)
    AudioStream(tmp_path / "a.wav").read()

    for process in decoder_processes():
        limits = Path(f"/proc/{process}/limits").read_text()
        assert re.search(r"Max open files +64 +64 ", limits)
        assert re.search(rf"Max data size +{4 << 30} +{4 << 30} ", limits)
    assert decoder_processes()


def test_a_decoder_that_takes_all_the_memory_it_may_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = tmp_path / "decoder.py"
    program = decoders._PROGRAM.read_text()
    eaten = "import av\nav.open = lambda *given, **more: bytearray(6 << 30)\n"
    greedy.write_text(program.replace("def main()", f"{eaten}\n\ndef main()"))
    soundfile.write(tmp_path / "a.flac", noise(0.1).T.numpy(), RATE)
    monkeypatch.setattr(decoders, "_PROGRAM", greedy)
    decoders._close_all()
    try:
        with pytest.raises(decoders.DecoderError, match="it needs too much memory"):
            list(decoders.ask(tmp_path / "a.flac", "describe"))
    finally:
        decoders._close_all()


def test_a_decoder_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_PATIENCE", 2.0)
    os.mkfifo(tmp_path / "a.mp3")
    soundfile.write(tmp_path / "b.wav", noise(1).T.numpy(), RATE)
    monkeypatch.setattr(AudioStream, "_check_file", lambda stream: None)  # It would see that this is no file.
    monkeypatch.setattr(AudioStream, "_parts", lambda stream: (None,))

    with pytest.raises(MdxError, match=r"a.mp3: no audio could be read from it \(nothing came for 2 s\)"):
        AudioStream(tmp_path / "a.mp3").read()

    assert AudioStream(tmp_path / "b.wav").length() == RATE


def test_files_that_are_read_in_part_leave_no_decoders_behind(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(60).T.numpy(), RATE)
    before = len(decoder_processes())

    for _ in range(12):
        pieces = AudioStream(tmp_path / "a.wav").pieces()
        next(pieces)
        del pieces

    assert len(decoder_processes()) <= before + 1


def test_decoders_end_with_the_process_that_reads(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(60).T.numpy(), RATE)
    running = Running(read_slowly, tmp_path / "a.wav", tmp_path / "decoder")
    running.wait_until((tmp_path / "decoder").exists)
    pid = int((tmp_path / "decoder").read_text())

    running.kill()

    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def read_slowly(path: Path, told: Path) -> None:
    pieces = AudioStream(path).pieces()
    next(pieces)
    [pid] = decoder_processes()
    (told.parent / "part").write_text(str(pid))
    (told.parent / "part").rename(told)
    time.sleep(60)
