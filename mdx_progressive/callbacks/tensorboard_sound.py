"""What TensorBoard lets hear and see of the first songs of `test`: players and spectrograms."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mdx_progressive.callbacks.tensorboard_writer import tensorboard_writer
from mdx_progressive.module import ProgressiveDemixing, TestOutput
from mdx_progressive.spectrograms import spectrogram_figure


class TensorBoardSound(Callback):
    """Logs mixture, one-pass, best step of `model.method` and reference as sound, and their spectrograms as pairs.

    Args:
        songs: How many songs are logged.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int = 1, seconds: float = 30.0) -> None:
        self.songs = songs
        self.seconds = seconds
        self._heard: set[str] = set()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heard.clear()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        writer = tensorboard_writer(trainer)
        output: TestOutput = outputs
        sound = output["sound"]
        if writer is None or sound is None:
            return
        rate = pl_module.separator.sample_rate
        beginning = slice(int(self.seconds * rate))
        for item, origin in enumerate(output["batch"].origins):
            if origin.song in self._heard or len(self._heard) == self.songs:
                continue
            self._heard.add(origin.song)
            takes = {"mixture": sound.mixture[item, :, beginning]}
            for number, target in enumerate(pl_module.targets):
                best_name = f"best step ({int(sound.best_step[item, number])})"
                reference, one_pass, best = (
                    each[item, number, :, beginning] for each in (sound.references, sound.one_pass, sound.best)
                )
                takes[f"{target}/one-pass"] = one_pass
                takes[f"{target}/{best_name}"] = best
                takes[f"{target}/reference"] = reference
                figure = spectrogram_figure(
                    reference, one_pass, best, rate, f"{origin.song}: {target}", f"{pl_module.method.name}, {best_name}"
                )
                writer.add_figure(f"spectrograms/{origin.song}/{target}", figure)
            for tag, waveform in takes.items():
                writer.add_audio(f"{origin.song}/{tag}", _playable(waveform), sample_rate=rate)


def _playable(waveform: Tensor) -> Tensor:
    """A waveform (channel, time) for TensorBoard's players: mono, within full scale."""
    mono = waveform.mean(dim=0)
    return (mono / mono.abs().max().clamp(min=1)).cpu()
