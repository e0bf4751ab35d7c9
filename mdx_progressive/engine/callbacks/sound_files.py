"""What there is to hear of `test`: <run>/sound/<song>/mixture.mp3 and <source>/<take>.mp3, for the report's players."""

import math
from pathlib import Path

import soundfile
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mdx_progressive.audio import Mp3, resample
from mdx_progressive.data import Origin
from mdx_progressive.engine.callbacks.first_songs import FirstSongs
from mdx_progressive.engine.callbacks.run_context import datamodule_of, run_folder
from mdx_progressive.engine.module import ProgressiveDemixing, Sound
from mdx_progressive.evaluation import FOLDER, AudioClip, Excerpt, Kind, read_index, remove_index, write_index
from mdx_progressive.runtime import MdxError, atomic_write, safe_names

_OTHER_RATE = 44100
_PEAK = 0.9
"""What the loudest take may reach: coding adds a little to peaks, and beyond full scale they would be cut off."""
_COMPRESSION = 0.3
"""Between 0 and 1; of LAME's V3, about 135 kb/s."""
_BYTES_A_SECOND = 135e3 / 8


class SoundFiles(FirstSongs):
    """Writes what the players of `mdx-progressive report` play, as MP3.

    That is of each song the mixture, and of each source one pass, the best and the last step of the method, the
    oracle's last step and the reference. All files of a song have one gain, which only ever turns down, so that they
    compare fairly. They have a variable rate of about 135 kb/s, which every browser plays, and no shift against each
    other.

    Args:
        songs: How many songs are written, from the first on; 0 for none.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int = 3, seconds: float = 12.0) -> None:
        super().__init__(songs, seconds)
        self._folder = Path(FOLDER)
        self._written: list[Excerpt] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = self._folder = run_folder(trainer) / FOLDER
        datamodule = datamodule_of(trainer)
        done = datamodule.done if datamodule else set()
        # A run that goes on where it broke off has written some already.
        self._written = [each for each in read_index(folder) if (each.song, each.chunk) in done] if done else []
        self.heard = {excerpt.song for excerpt in self._written}
        if trainer.is_global_zero and not self._written:
            remove_index(folder)

    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        of_a_source = 4 if module.oracle is None else 5  # One pass, best and last step, oracle, reference.
        return _BYTES_A_SECOND * (1 + of_a_source * len(module.targets))

    def hear(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound) -> None:
        name = safe_names([origin.song], [excerpt.folder for excerpt in self._written])[origin.song]
        self._written.append(self._write(self._folder, name, origin, sound, module))
        write_index(self._folder, self._written)

    def _write(self, folder: Path, name: str, origin: Origin, sound: Sound, module: ProgressiveDemixing) -> Excerpt:
        """Write the files of one chunk below `folder / name`."""
        rate, method = module.separator.sample_rate, module.method
        time = sound.mixture.shape[-1]
        samples = min(time, int(self.seconds * rate))
        heard = [waveform for waveform in sound if waveform is not sound.best_step and waveform is not None]
        peak = max(float(waveform[..., :samples].abs().max()) for waveform in heard)
        gain = min(1.0, _PEAK / max(peak, _PEAK))

        def take(waveform: Tensor, kind: Kind, *place: str, step: int | None = None, best: bool = False) -> AudioClip:
            file = Path(name, *place, f"{kind if kind != 'step' else f'step {step}'}.mp3")
            _write_mp3(folder / file, gain * waveform[:, :samples], rate)
            return AudioClip(kind, file.as_posix(), step, best)

        mixture = take(sound.mixture, "mixture")
        of_sources: dict[str, list[AudioClip]] = {}
        places: list[str] = []
        for number, target in enumerate(module.targets):
            places.append(place := safe_names([target], places)[target])
            one_pass, best = sound.one_pass[number], int(sound.best_step[number])
            steps = {best: sound.best[number], method.steps: sound.last[number]}
            # Step 0 is the plain pass, unless the method hears the mixture in several views.
            others = {step: steps[step] for step in sorted(steps) if not torch.equal(steps[step], one_pass)}
            takes = [mixture, take(one_pass, "one-pass", place, step=0, best=best not in others)]
            takes += [take(others[step], "step", place, step=step, best=step == best) for step in others]
            if sound.oracle is not None and module.oracle is not None:
                takes.append(take(sound.oracle[number], "oracle", place, step=module.oracle.steps))
            of_sources[target] = [*takes, take(sound.references[number], "reference", place)]
        return Excerpt(
            song=origin.song,
            chunk=origin.chunk,
            seconds=samples / rate,
            chunk_seconds=time / rate,
            gain_db=round(20 * math.log10(gain), 2),
            method=method.name,
            clips=of_sources,
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
