"""What a stem says of how it was made, and what `predict` does with stems that are there already."""

import os
import shutil
from pathlib import Path

import pytest
import soundfile

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.data.song import Song
from mdx_progressive.output.provenance import Maker, Provenance, read_provenance
from tests.support.command import NARROW, run
from tests.support.signals import RATE, noise

SPLEETER = ("-s", "spleeter", *NARROW)
FAST = (*SPLEETER, "-q", "fast")


@pytest.fixture(autouse=True)
def song(own_folder: Path) -> Path:
    """A song of a second in the current folder."""
    path = Path("a.wav")
    soundfile.write(path, noise(1).T.numpy(), RATE)
    return path


def stems(folder: str = "separated") -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*.*")}


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The error of a `predict` that must not touch what is there."""
    before, _ = stems(), capsys.readouterr()
    assert run("predict", *command) == 1
    assert stems() == before
    return capsys.readouterr().err.split("error: ")[-1].strip()


def test_stems_of_the_same_song_separator_and_method_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "a.wav", *FAST) == 0
    before = stems()
    # Neither a copy of the song with another date, nor what does not decide on the samples, makes a difference.
    shutil.copyfile("a.wav", "b.wav")
    Path("b.wav").rename("a.wav")

    assert run("predict", "a.wav", *FAST, "--data.batch_size", "2", "--targets", "vocals") == 0

    assert "finished in separated: 1 of 1 song; --overwrite separates them again" in capsys.readouterr().err
    assert stems() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-q", "balanced"), "it was made by spleeter:2stems, one-pass, this run is spleeter:2stems, balanced"),
        (("-q", "fast", "--model.separator.mask_extension", "average"), "it was made with other settings"),
        (("-q", "fast", "--writer.encoding", "int16"), "it was made with other settings"),
    ],
)
def test_stems_of_another_method_or_other_settings_are_refused(
    options: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", "a.wav", *FAST) == 0

    said = refused(capsys, "a.wav", *SPLEETER, *options)

    vocals = Path("separated", "a", "vocals.wav")
    assert said == (
        f"separated: has stems that are not those of this run, of 1 of 1 song: {vocals}: {reason}:"
        " --overwrite replaces them, -o FOLDER writes elsewhere"
    )
    assert run("predict", "a.wav", *SPLEETER, *options, "--overwrite") == 0
    assert run("predict", "a.wav", *SPLEETER, *options) == 0


@pytest.mark.parametrize("format_", ["wav", "flac", "mp3", "ogg"])
def test_stems_of_another_song_of_that_name_are_refused(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "a.wav", *FAST, "--format", format_) == 0
    soundfile.write("a.wav", 0.5 * noise(1).T.numpy(), RATE)

    said = refused(capsys, "a.wav", *FAST, "--format", format_)

    assert "it was made from another file of that name, or before the song was changed:" in said


def test_one_stem_that_is_left_of_another_method_is_refused_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "a.wav", *FAST) == 0
    Path("separated", "a", "accompaniment.wav").unlink()

    assert "one-pass" in refused(capsys, "a.wav", *SPLEETER, "-q", "balanced")
    assert run("predict", "a.wav", *FAST) == 0
    assert len(stems()) == 2


def test_stems_that_tell_nothing_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("vocals", "accompaniment"):
        Path("separated", "a").mkdir(parents=True, exist_ok=True)
        soundfile.write(f"separated/a/{source}.wav", noise(1).T.numpy(), RATE)
    before = stems()

    assert run("predict", "a.wav", *FAST) == 0

    said = capsys.readouterr().err
    assert "stems in separated don't tell what made them: 1 of 1 song; --overwrite replaces them" in said
    assert stems() == before


def test_what_a_stem_tells_is_read_back(tmp_path: Path) -> None:
    provenance = Provenance("näme, of a separator, a [method]", "0123456789abcdef", "fedcba9876543210")
    with soundfile.SoundFile(tmp_path / "a.flac", "w", RATE, 2) as file:
        file.software = provenance.text
        file.write(noise(0.1).T.numpy())

    assert read_provenance(tmp_path / "a.flac") == provenance
    assert read_provenance(tmp_path / "gone.flac") is None
    assert "mdx-progressive" in provenance.text


@pytest.mark.parametrize("text", [None, "mdx-progressive", "Lavf58", "mdx-progressive: x [y z]"])
def test_other_software_tells_nothing(text: str | None, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", RATE, 2) as file:
        if text:
            file.software = text
        file.write(noise(0.1).T.numpy())

    assert read_provenance(tmp_path / "a.wav") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    pipe = Song("a", AudioStream(tmp_path / "pipe.wav"))

    assert read_provenance(tmp_path / "pipe.wav") is None
    assert Maker("", "").provenance(pipe) == Maker("", "").provenance(Song("a", None))


def test_a_file_that_is_no_sound_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("finished by somebody else")

    assert read_provenance(tmp_path / "a.wav") is None


@pytest.mark.parametrize("format_", ["wav", "flac", "mp3", "ogg"])
def test_stems_of_a_former_run_are_no_songs_unless_they_are_given_themselves(
    format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", "a.wav", *FAST, "--format", format_, "-o", "former") == 0

    assert run("predict", ".", *FAST, "-o", "later") == 0
    assert "skipped 2 files: estimates, not songs" in capsys.readouterr().err
    assert sorted(stems("later")) == ["a/accompaniment.wav", "a/vocals.wav"]

    assert run("predict", f"former/a/vocals.{format_}", *FAST, "-o", "again") == 0
    assert sorted(stems("again")) == ["vocals/accompaniment.wav", "vocals/vocals.wav"]
