"""The callback that logs the first songs of `test` to TensorBoard: players and spectrograms."""

from collections.abc import Mapping, Sequence
from functools import partial

from lightning.pytorch import Trainer
from torch import Tensor

from mdx_progressive.data import ChunkLength, Origin
from mdx_progressive.engine.callbacks.first_songs import FirstSongs
from mdx_progressive.engine.callbacks.run_context import tensorboard_writer
from mdx_progressive.engine.callbacks.tensorboard_figures import add_wide_figure
from mdx_progressive.engine.module import ProgressiveDemixing, Sound
from mdx_progressive.evaluation import spectrogram_figure
from mdx_progressive.progressive import Method
from mdx_progressive.runtime import escape_unprintable

_SPECTROGRAM = 750_000
"""Approximate bytes of the picture of a song and source."""


class TensorBoardSound(FirstSongs):
    """Logs mixture, one-pass, best and last step of `model.method` and reference as sound, and their spectrograms.

    Args:
        songs: How many songs are logged.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int = 1, seconds: float = 30.0) -> None:
        super().__init__(songs, seconds)

    def disk(self, module: ProgressiveDemixing, extents: Sequence[ChunkLength]) -> int:
        songs = min(self.songs, len({extent.song for extent in extents}))
        return super().disk(module, extents) + songs * len(module.targets) * _SPECTROGRAM

    def heard(self, module: ProgressiveDemixing) -> list[Method]:
        return [module.method]

    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        return 2 * module.separator.sample_rate * (1 + 4 * len(module.targets))  # 16 bits, one channel

    def add_song(
        self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound, last: Mapping[str, Tensor]
    ) -> None:
        writer = tensorboard_writer(trainer)
        if writer is None:
            return
        rate, song = module.separator.sample_rate, escape_unprintable(origin.song)
        beginning = slice(int(self.seconds * rate))
        clips = {"mixture": sound.mixture[:, beginning]}
        for number, target in enumerate(module.targets):
            best_name = f"best step ({int(sound.best_step[number])})"
            last_name = f"last step ({module.method.steps})"
            waveforms = (sound.one_pass, sound.best, sound.references)
            one_pass, best, reference = (waveform[number, :, beginning] for waveform in waveforms)
            clips |= {
                f"{target}/one-pass": one_pass, f"{target}/{best_name}": best,
                f"{target}/{last_name}": last[module.method.name][number], f"{target}/reference": reference,
            }  # fmt: skip
            draw = partial(
                spectrogram_figure, reference, one_pass, best, rate, f"{song}: {target}",
                f"{module.method.name}, {best_name}",
            )  # fmt: skip
            add_wide_figure(writer, f"spectrograms/{song}/{target}", draw)
        for tag, waveform in clips.items():
            writer.add_audio(f"{song}/{tag}", _playable(waveform), sample_rate=rate)


def _playable(waveform: Tensor) -> Tensor:
    """A waveform (channel, time) for TensorBoard's players: mono, within full scale."""
    mono = waveform.mean(dim=0)
    return mono / mono.abs().max().clamp(min=1)
