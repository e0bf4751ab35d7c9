"""The callback of `test` that writes audio for the report's players: <run>/sound/<song>/<source>/<clip>.mp3."""

import math
from collections.abc import Mapping
from pathlib import Path

import soundfile
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mdx_progressive.audio import Mp3, SoundOutput, resample
from mdx_progressive.data import Origin
from mdx_progressive.engine.callbacks.first_songs import FirstSongs
from mdx_progressive.engine.callbacks.run_context import run_folder, song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing, Sound
from mdx_progressive.evaluation import SOUND_FOLDER, AudioClip, Excerpt, read_index, remove_index, write_index
from mdx_progressive.progressive import Method
from mdx_progressive.runtime import RESUME_HINT, MdxError, atomic_write, is_disk_full, safe_names

_OTHER_RATE = 44100
_PEAK = 0.9
"""What the loudest clip may reach: coding adds a little to peaks, and beyond full scale they would be cut off."""
_COMPRESSION = 0.3
"""Between 0 and 1; of LAME's V3, about 135 kb/s."""
_BYTES_PER_SECOND = 135e3 / 8


class SoundFiles(FirstSongs):
    """Writes the clips that the players of `mdx-progressive report` play, as MP3.

    Of each song that is the mixture, and of each source one pass, the best step of `model.method`, the last step of
    every method that is compared, since the best of them is known only when the run ends, the oracle's last step and
    the reference. All files of a song have one gain, which only ever turns down, so that they compare fairly. They have
    a variable rate of about 135 kb/s, which every browser plays, and no shift against each other.

    Args:
        songs: How many songs are written, from the first on; 0 for none.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int = 3, seconds: float = 12.0) -> None:
        super().__init__(songs, seconds)
        self._folder = Path(SOUND_FOLDER)
        self._written: list[Excerpt] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_start(trainer, pl_module)
        folder = self._folder = run_folder(trainer) / SOUND_FOLDER
        datamodule = song_datamodule(trainer)
        done = datamodule.done if datamodule else set()
        # A run that is resumed has written some already.
        self._written = [each for each in read_index(folder) if (each.song, each.chunk) in done] if done else []
        self._seen = {excerpt.song for excerpt in self._written}
        if trainer.is_global_zero and not self._written:
            remove_index(folder)

    def heard(self, module: ProgressiveDemixing) -> list[Method]:
        return [*_compared(module), *([module.oracle] if module.oracle else [])]

    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        clips = 3 + len(self.heard(module))  # One pass, best step, last steps, reference.
        return _BYTES_PER_SECOND * (1 + clips * len(module.targets))

    def add_song(
        self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound, last: Mapping[str, Tensor]
    ) -> None:
        self._written.append(self._excerpt(module, origin, sound, last))
        write_index(self._folder, self._written)

    def _excerpt(
        self, module: ProgressiveDemixing, origin: Origin, sound: Sound, last: Mapping[str, Tensor]
    ) -> Excerpt:
        """Write the files of a song."""
        rate, compared = module.separator.sample_rate, _compared(module)
        folder = safe_names([origin.song], [excerpt.folder for excerpt in self._written])[origin.song]
        file_names = safe_names(method.name for method in compared)
        time = sound.mixture.shape[-1]
        samples = min(time, int(self.seconds * rate))
        waveforms = [sound.mixture, sound.one_pass, sound.best, sound.references, *last.values()]
        gain = _PEAK / max(_PEAK, *(float(waveform[..., :samples].abs().max()) for waveform in waveforms))

        def write(waveform: Tensor, clip: AudioClip) -> AudioClip:
            _write_mp3(self._folder / clip.file, gain * waveform[:, :samples], rate)
            return clip

        mixture = write(sound.mixture, AudioClip("mixture", f"{folder}/mixture.mp3"))
        clips_of_sources: dict[str, list[AudioClip]] = {}
        names: list[str] = []
        for number, target in enumerate(module.targets):
            names.append(name := safe_names([target], names)[target])
            path = f"{folder}/{name}"
            one_pass, best = sound.one_pass[number], int(sound.best_step[number])
            of_methods = []
            for method in compared:
                steps = {best: sound.best[number]} if method is module.method else {}
                steps[method.steps] = last[method.name][number]
                for step, estimate in sorted(steps.items()):
                    # Step 0 is the plain pass, unless the method augments the mixture.
                    if not torch.equal(estimate[:, :samples], one_pass[:, :samples]):
                        file = f"{path}/{file_names[method.name]} step {step}.mp3"
                        is_best = method is module.method and step == best
                        of_methods.append(write(estimate, AudioClip("step", file, step, is_best, method.name)))
            no_better = not any(clip.best for clip in of_methods)
            clips = [mixture, write(one_pass, AudioClip("one-pass", f"{path}/one-pass.mp3", 0, no_better)), *of_methods]
            if module.oracle is not None:
                clip = AudioClip("oracle", f"{path}/oracle.mp3", module.oracle.steps)
                clips.append(write(last[module.oracle.name][number], clip))
            reference = write(sound.references[number], AudioClip("reference", f"{path}/reference.mp3"))
            clips_of_sources[target] = [*clips, reference]
        return Excerpt(
            song=origin.song,
            chunk=origin.chunk,
            seconds=samples / rate,
            chunk_seconds=time / rate,
            gain_db=round(20 * math.log10(gain), 2),
            method=module.method.name,
            clips=clips_of_sources,
        )


def _compared(module: ProgressiveDemixing) -> list[Method]:
    """The methods of a run that are no bounds, `model.method` first."""
    _, *others = module.methods
    return [method for method in others if not method.needs_references]


def _write_mp3(path: Path, waveform: Tensor, rate: int) -> None:
    if rate not in Mp3.rates:
        waveform, rate = resample(waveform, rate, _OTHER_RATE), _OTHER_RATE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            options = {"bitrate_mode": "VARIABLE", "compression_level": _COMPRESSION}
            with SoundOutput(temporary, rate, len(waveform), Mp3.codec, "MP3", **options) as sound:
                sound.write(waveform.T.numpy())
    except (OSError, soundfile.SoundFileError) as error:
        reason, hint = getattr(error, "strerror", None) or error, "--sound.songs 0 leaves the sound out"
        if is_disk_full(error):
            hint = f"{RESUME_HINT}, and {hint}"
        raise MdxError(f"{path}: could not be written ({reason}); {hint}") from error
