"""Songs with stems out of packages of the system, for measuring on music that methods were not chosen on.

    apt-get install lmms lmms-common fluidsynth fluid-soundfont-gm openttd-openmsx
    python -m tests.benchmarks.synthetic_songs --to songs/
    mdx-progressive test -c configs/htdemucs.yaml --data.root songs/ --data.trim null --model.targets [drums,bass,other]

Demo projects of LMMS (synthesised) and General MIDI music of OpenTTD, played by FluidSynth (sampled instruments). Of
each, drums, bass and the rest are rendered apart; there are no vocals. What is kept of a song are the twelve seconds in
which no stem rests: those whose quietest two seconds of any stem are the loudest.
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
PROJECTS = (
    "Alf42red-Mauiwowi",
    "CapDan/CapDan-ReggaeTry",
    "CapDan/CapDan-ReggaetonTry",
    "CapDan/CapDan-TwilightArea-OriginalByAlf42red",
    "Momo64-esp",
    "Settel-InnerRecreation",
    "Skiessi/Skiessi-C64",
    "Skiessi/Skiessi-Onion",
    "Socceroos-Progress",
    "Thomasso-AxeFromThe80s",
)
"""Those whose tracks tell by their names or pitch to which stem they belong."""
MIDI = Path("/usr/share/games/openttd/baseset/openmsx")
PIECES = (
    "be_sharp_bw_redfarn",
    "busy_schedule",
    "keep_on_rolling",
    "run_for_your_life",
    "say_what_redfarn",
    "the_fast_route",
    "tttheme2",
    "ultimate_run",
)
"""Those with drums and a bass of their own."""
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
        (source := folder / "stem.mmp").write_bytes(ElementTree.tostring(tree))
        rendered = ["-f", "wav", "-s", str(RATE), "-o", str(file := folder / "stem.wav")]
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
    programs: dict[int, int] = {}
    for message in mido.MidiFile(piece):
        if message.type == "program_change":
            programs.setdefault(message.channel, message.program)
    stems = {}
    for stem in STEMS:
        music = mido.MidiFile(piece)
        for track in music.tracks:
            track[:] = _of_stem(track, stem, programs)
        music.save(source := folder / "stem.mid")
        rendered = ["-g", "0.4", "-r", str(RATE), "-F", str(file := folder / "stem.wav")]
        command = ["fluidsynth", "-ni", "-q", *rendered, str(SOUNDFONT), str(source)]
        subprocess.run(command, check=True, capture_output=True)
        stems[stem] = _read(file)
    return stems


def _of_stem(track: mido.MidiTrack, stem: str, programs: dict[int, int]) -> list[mido.Message]:
    kept, waited = [], 0
    for message in track:
        if hasattr(message, "channel"):
            basses = range(32, 40)
            of = "drums" if message.channel == 9 else "bass" if programs.get(message.channel, 0) in basses else "other"
            if of != stem:
                waited += message.time
                continue
        kept.append(message.copy(time=message.time + waited))
        waited = 0
    return kept


def _read(file: Path) -> Signal:
    samples: Signal = soundfile.read(file, dtype="float32", always_2d=True)[0]
    return samples


def excerpt(stems: dict[str, Signal], seconds: int) -> dict[str, Signal]:
    """So many seconds in which no stem rests, at 0.9 of full scale."""
    length, stretch = seconds * RATE, 2 * RATE
    longest = max(map(len, stems.values()))
    whole = np.stack([np.pad(stem, ((0, longest - len(stem)), (0, 0))) for stem in stems.values()])

    def quietest(start: int) -> float:
        stretches = whole[:, start : start + length].reshape(len(whole), -1, stretch, whole.shape[-1])
        return float(np.square(stretches).mean(axis=(2, 3)).min())

    start = max(range(0, longest - length + 1, stretch), key=quietest)
    cut = whole[:, start : start + length]
    cut *= 0.9 / np.abs(cut.sum(axis=0)).max()
    return dict(zip(stems, cut, strict=True))


def _songs() -> Iterator[tuple[Path, Callable[[Path, Path], dict[str, Signal]]]]:
    for project in PROJECTS:
        yield LMMS / f"{project}.mmpz", rendered_by_lmms
    for piece in PIECES:
        yield MIDI / f"{piece}.mid", rendered_by_fluidsynth


def main() -> None:
    """Write a folder for each song, and a line about it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True)
    to = parser.parse_args().to
    if lacking := [program for program in ("lmms", "fluidsynth") if which(program) is None]:
        parser.error(f"{' and '.join(lacking)} not installed: see --help for the packages")
    for source, render in _songs():
        with TemporaryDirectory() as folder:
            stems = excerpt(render(source, Path(folder)), seconds=12)
        (song := to / source.stem).mkdir(parents=True, exist_ok=True)
        for stem, samples in {**stems, "vocals": np.zeros_like(stems["other"])}.items():
            soundfile.write(song / f"{stem}.wav", samples, RATE, subtype="FLOAT")
        levels = {stem: f"{10 * np.log10(np.square(samples).mean()):.1f} dB" for stem, samples in stems.items()}
        print(source.stem, levels, flush=True)


if __name__ == "__main__":
    main()
