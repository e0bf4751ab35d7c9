"""The callback of `test` that writes audio for the report's players: <run>/sound/<song>/<source>/<clip>.mp3."""

import math
from pathlib import Path

import soundfile
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mdx_progressive.audio import Mp3, resample
from mdx_progressive.data import Origin
from mdx_progressive.engine.callbacks.first_songs import FirstSongs
from mdx_progressive.engine.callbacks.run_context import run_folder, song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing, Sound
from mdx_progressive.evaluation import SOUND_FOLDER, AudioClip, Excerpt, Kind, read_index, remove_index, write_index
from mdx_progressive.runtime import MdxError, atomic_write, safe_names

_OTHER_RATE = 44100
_PEAK = 0.9
"""What the loudest clip may reach: coding adds a little to peaks, and beyond full scale they would be cut off."""
_COMPRESSION = 0.3
"""Between 0 and 1; of LAME's V3, about 135 kb/s."""
_BYTES_PER_SECOND = 135e3 / 8


class SoundFiles(FirstSongs):
    """Writes the clips that the players of `mdx-progressive report` play, as MP3.

    Of each song that is the mixture, and of each source one pass, the best and the last step of the method, the
    oracle's last step and the reference. All files of a song have one gain, which only ever turns down, so that they
    compare fairly. They have a variable rate of about 135 kb/s, which every browser plays, and no shift against each
    other.

    Args:
        songs: How many songs are written, from the first on; 0 for none.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int = 3, seconds: float = 12.0) -> None:
        super().__init__(songs, seconds)
        self._folder = Path(SOUND_FOLDER)
        self._written: list[Excerpt] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = self._folder = run_folder(trainer) / SOUND_FOLDER
        datamodule = song_datamodule(trainer)
        done = datamodule.done if datamodule else set()
        # A run that is resumed has written some already.
        self._written = [each for each in read_index(folder) if (each.song, each.chunk) in done] if done else []
        self._seen = {excerpt.song for excerpt in self._written}
        if trainer.is_global_zero and not self._written:
            remove_index(folder)

    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        clips = 4 if module.oracle is None else 5  # One pass, best and last step, oracle, reference.
        return _BYTES_PER_SECOND * (1 + clips * len(module.targets))

    def add_song(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound) -> None:
        self._written.append(self._excerpt(module, origin, sound))
        write_index(self._folder, self._written)

    def _excerpt(self, module: ProgressiveDemixing, origin: Origin, sound: Sound) -> Excerpt:
        """Write the files of a song."""
        rate, method = module.separator.sample_rate, module.method
        folder = safe_names([origin.song], [excerpt.folder for excerpt in self._written])[origin.song]
        time = sound.mixture.shape[-1]
        samples = min(time, int(self.seconds * rate))
        waveforms = [each for each in sound if each is not sound.best_step and each is not None]
        gain = _PEAK / max(_PEAK, *(float(waveform[..., :samples].abs().max()) for waveform in waveforms))

        def write(waveform: Tensor, kind: Kind, *path: str, step: int | None = None, best: bool = False) -> AudioClip:
            file = Path(folder, *path, f"{kind if kind != 'step' else f'step {step}'}.mp3")
            _write_mp3(self._folder / file, gain * waveform[:, :samples], rate)
            return AudioClip(kind, file.as_posix(), step, best)

        mixture = write(sound.mixture, "mixture")
        clips_of_sources: dict[str, list[AudioClip]] = {}
        names: list[str] = []
        for number, target in enumerate(module.targets):
            names.append(name := safe_names([target], names)[target])
            one_pass, best = sound.one_pass[number], int(sound.best_step[number])
            steps = {best: sound.best[number], method.steps: sound.last[number]}
            # Step 0 is the plain pass, unless the method augments the mixture.
            others = {step: steps[step] for step in sorted(steps) if not torch.equal(steps[step], one_pass)}
            clips = [mixture, write(one_pass, "one-pass", name, step=0, best=best not in others)]
            clips += [write(others[step], "step", name, step=step, best=step == best) for step in others]
            if sound.oracle is not None and module.oracle is not None:
                clips.append(write(sound.oracle[number], "oracle", name, step=module.oracle.steps))
            clips_of_sources[target] = [*clips, write(sound.references[number], "reference", name)]
        return Excerpt(
            song=origin.song,
            chunk=origin.chunk,
            seconds=samples / rate,
            chunk_seconds=time / rate,
            gain_db=round(20 * math.log10(gain), 2),
            method=method.name,
            clips=clips_of_sources,
        )


def _write_mp3(path: Path, waveform: Tensor, rate: int) -> None:
    if rate not in Mp3.rates:
        waveform, rate = resample(waveform, rate, _OTHER_RATE), _OTHER_RATE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            soundfile.write(
                temporary, waveform.T.numpy(), rate, format="MP3", subtype="MPEG_LAYER_III",
                bitrate_mode="VARIABLE", compression_level=_COMPRESSION,
            )  # fmt: skip
    except (OSError, soundfile.SoundFileError) as error:
        raise MdxError(f"{path}: could not be written ({error}); --sound.songs 0 leaves the sound out") from error
