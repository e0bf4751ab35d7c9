"""Songs with stems out of packages of the system, for measuring on music that methods were not chosen on.

    apt-get install lmms lmms-common fluidsynth fluid-soundfont-gm openttd-openmsx
    python -m tests.benchmarks.synthetic_songs --to songs/
    mdx-progressive test -c configs/htdemucs.yaml --data.root songs/ --data.trim null --model.targets [drums,bass,other]

Demo projects of LMMS (synthesised) and General MIDI music of OpenTTD, played by FluidSynth (sampled instruments). Of
each, drums, bass and the rest are rendered apart; there are no vocals. What is kept of a song are twelve seconds in
which no stem rests: those whose quietest two seconds of any stem were the loudest. FluidSynth renders the same samples
each time; LMMS has oscillators and noise that run freely, so that its songs differ from one rendering to the next.
"""

import argparse
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import mido
import numpy as np
import numpy.typing as npt
import soundfile

RATE = 44100
STEMS = ("drums", "bass", "other")
LMMS = Path("/usr/share/lmms/projects/demos")
PROJECTS = {
    "Alf42red-Mauiwowi": 36,
    "CapDan/CapDan-ReggaeTry": 10,
    "CapDan/CapDan-ReggaetonTry": 4,
    "CapDan/CapDan-TwilightArea-OriginalByAlf42red": 86,
    "Momo64-esp": 208,
    "Settel-InnerRecreation": 218,
    "Skiessi/Skiessi-C64": 14,
    "Skiessi/Skiessi-Onion": 96,
    "Socceroos-Progress": 190,
    "Thomasso-AxeFromThe80s": 170,
}
"""Those whose tracks tell by name or pitch to which stem they belong, and where their excerpt begins, in seconds."""
MIDI = Path("/usr/share/games/openttd/baseset/openmsx")
PIECES = {
    "be_sharp_bw_redfarn": 126,
    "busy_schedule": 90,
    "keep_on_rolling": 174,
    "run_for_your_life": 220,
    "say_what_redfarn": 18,
    "the_fast_route": 116,
    "tttheme2": 70,
    "ultimate_run": 52,
}
"""Those with drums and a bass of their own, in the same way."""
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")

Signal = npt.NDArray[np.float32]

_BASS = re.compile(r"bass(?!drum)|\bsub\b", re.IGNORECASE)
_DRUMS = re.compile(r"drum|kick|kik|snare|snr|hat|clap|crash|ride|tom|BD/SN|HH|rim|8bit|heartbeat|tick", re.IGNORECASE)
_LOW = 42
"""Notes below this one (F sharp of 92 Hz) are a bass's, where the name of a track does not tell."""


def rendered_by_lmms(project: Path, folder: Path) -> dict[str, Signal]:
    """The stems of a project, by muting the tracks of all others."""
    command = ["lmms", *(["--allowroot"] if os.geteuid() == 0 else [])]
    quiet = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    plain = subprocess.run([*command, "dump", project], env=quiet, check=True, capture_output=True).stdout
    stems = {}
    for stem in STEMS:
        tree = ElementTree.fromstring(plain)  # noqa: S314 - of a package of the system
        for track in tree.findall("song/trackcontainer/track"):
            if track.get("type") in {"0", "1", "2"} and _stem_of(track) != stem:
                track.set("muted", "1")
        (source := folder / f"{stem}.mmp").write_bytes(ElementTree.tostring(tree))
        rendered = ["-f", "wav", "-s", str(RATE), "-o", str(file := folder / f"{stem}.wav")]
        subprocess.run([*command, "render", source, *rendered], env=quiet, check=True, capture_output=True)
        stems[stem] = _read(file)
    return stems


def _stem_of(track: ElementTree.Element) -> str:
    name = track.get("name", "")
    if _BASS.search(name):
        return "bass"
    if track.get("type") == "1" or _DRUMS.search(name):
        return "drums"
    instrument = track.find("instrumenttrack")
    if instrument is not None and name in {"Default preset", "Standard-Preset"}:
        moved = 57 - int(instrument.get("basenote", "57"))
        notes = [int(note.get("key", "57")) + moved for note in track.iter("note")]
        return "bass" if notes and median(notes) < _LOW else "other"
    return "other"


def rendered_by_fluidsynth(piece: Path, folder: Path) -> dict[str, Signal]:
    """The stems of a piece of General MIDI: channel 10 are the drums, programs 33 to 40 basses."""
    programs: dict[int | None, int] = {}
    for message in mido.MidiFile(piece):
        if message.type == "program_change":
            programs.setdefault(message.channel, message.program)
    stems = {}
    for stem in STEMS:
        music = mido.MidiFile(piece)
        for track in music.tracks:
            track[:] = _messages(track, stem, programs)
        music.save(source := folder / f"{stem}.mid")
        rendered = ["-g", "0.4", "-r", str(RATE), "-F", str(file := folder / f"{stem}.wav")]
        command = ["fluidsynth", "-ni", "-q", *rendered, str(SOUNDFONT), str(source)]
        subprocess.run(command, check=True, capture_output=True)
        stems[stem] = _read(file)
    return stems


def _messages(track: mido.MidiTrack, stem: str, programs: dict[int | None, int]) -> list[mido.Message]:
    """Those of a stem, and those of no channel, such as tempo; each at the time at which it was."""
    basses = range(32, 40)
    kept, waited = [], 0
    for message in track:
        channel = getattr(message, "channel", None)
        of = "drums" if channel == 9 else "bass" if programs.get(channel, 0) in basses else "other"
        if channel is not None and of != stem:
            waited += message.time
            continue
        kept.append(message.copy(time=message.time + waited))
        waited = 0
    return kept


def _read(file: Path) -> Signal:
    samples: Signal = soundfile.read(file, dtype="float32", always_2d=True)[0]
    return samples


def excerpt(stems: dict[str, Signal], start: int, seconds: int) -> dict[str, Signal]:
    """So many seconds of a song, at 0.9 of full scale."""
    cut = np.zeros((len(stems), seconds * RATE, 2), np.float32)
    for kept, stem in zip(cut, stems.values(), strict=True):
        part = stem[start * RATE :][: len(kept)]
        kept[: len(part)] = part
    cut *= 0.9 / np.abs(cut.sum(axis=0)).max()
    return dict(zip(stems, cut, strict=True))


def _songs() -> Iterator[tuple[Path, int, Callable[[Path, Path], dict[str, Signal]]]]:
    for project, start in PROJECTS.items():
        yield LMMS / f"{project}.mmpz", start, rendered_by_lmms
    for piece, start in PIECES.items():
        yield MIDI / f"{piece}.mid", start, rendered_by_fluidsynth


def main() -> None:
    """Write a folder for each song, and a line about it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True)
    to = parser.parse_args().to
    if lacking := [program for program in ("lmms", "fluidsynth") if which(program) is None]:
        parser.error(f"{' and '.join(lacking)} not installed: see --help for the packages")
    for source, start, render in _songs():
        with TemporaryDirectory() as folder:
            stems = excerpt(render(source, Path(folder)), start, seconds=12)
        (song := to / source.stem).mkdir(parents=True, exist_ok=True)
        for stem, samples in {**stems, "vocals": np.zeros_like(stems["other"])}.items():
            soundfile.write(song / f"{stem}.wav", samples, RATE, subtype="FLOAT")
        levels = {stem: f"{10 * np.log10(np.square(samples).mean()):.1f} dB" for stem, samples in stems.items()}
        print(source.stem, levels, flush=True)


if __name__ == "__main__":
    main()
