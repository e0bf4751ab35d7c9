"""The files that `predict` leaves: <out>/<song>/<source>.wav or .flac."""

import logging
from pathlib import Path
from typing import Any, Literal

import soundfile
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional

from mdx_progressive.batch import Prediction
from mdx_progressive.callbacks.surroundings import songs_of
from mdx_progressive.data.audio import resample
from mdx_progressive.errors import MdxError
from mdx_progressive.module import ProgressiveDemixing
from mdx_progressive.whole_file import whole_file

log = logging.getLogger(__name__)

Encoding = Literal["float32", "int24", "int16"]
_SUBTYPES: dict[Encoding, str] = {"float32": "FLOAT", "int24": "PCM_24", "int16": "PCM_16"}


class EstimateWriter(Callback):
    """Writes each estimate as `<out>/<song>/<source>.<format>`, at the song's own sample rate and length.

    A file gets its name when it is whole. What exists already is kept; a song of which everything exists is not
    separated again.

    Args:
        out: The folder to write to; taken from --out.
        format: wav, or flac, which holds integers only.
        encoding: float32, int24 or int16; by default float32 for wav and int24 for flac.
        clip: What to do with estimates above full scale: "rescale" turns all of a song's down alike, "clamp"
            cuts the peaks off, "keep" writes them as they are, which only float32 can. By default "keep" for
            float32, else "rescale". The log says when it was done.
        overwrite: Replace files that exist.

    Raises:
        MdxError: If the settings contradict one another.
    """

    def __init__(
        self,
        out: Path = Path("separated"),
        format: Literal["wav", "flac"] = "wav",  # noqa: A002  # The option is called --writer.format.
        encoding: Encoding | None = None,
        clip: Literal["rescale", "clamp", "keep"] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.out = out
        self.format = format
        self.encoding: Encoding = encoding or ("float32" if format == "wav" else "int24")
        self.clip = clip or ("keep" if self.encoding == "float32" else "rescale")
        self.overwrite = overwrite
        if format == "flac" and self.encoding == "float32":
            raise MdxError("flac can't hold float32: set writer.encoding to int24 or int16, or writer.format to wav")
        if self.clip == "keep" and self.encoding != "float32":
            raise MdxError(f"{self.encoding} can't hold samples above full scale: set writer.clip to rescale or clamp")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out the songs that are finished, before any of them is read."""
        datamodule = songs_of(trainer)
        if stage != "predict" or self.overwrite or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        targets, before = pl_module.targets, len(datamodule.songs)
        datamodule.keep(lambda song: not all(self.path(song, target).exists() for target in targets))
        if done := before - len(datamodule.songs):
            log.info("%d of %d songs are separated already in %s; --writer.overwrite true does them again",
                     done, before, self.out)  # fmt: skip

    @property
    def bytes_a_sample(self) -> int:
        """Bytes that a sample takes in the files, before flac makes them smaller."""
        return int(self.encoding[-2:]) // 8

    def path(self, song: str, target: str) -> Path:
        """The file of an estimate."""
        return self.out / song / f"{target}.{self.format}"

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, Prediction):
            for origin, estimates in zip(outputs.origins, outputs.estimates.float().cpu(), strict=True):
                own = torch.stack([resample(each, outputs.sample_rate, origin.sample_rate) for each in estimates])
                # The resampled length may be off by a sample.
                own = functional.pad(own, (0, origin.length - own.shape[-1]))
                self._write(origin.song, outputs.targets, own, origin.sample_rate)

    def _write(self, song: str, targets: list[str], estimates: Tensor, sample_rate: int) -> None:
        estimates = self._within_full_scale(song, estimates)
        for target, waveform in zip(targets, estimates, strict=True):
            path = self.path(song, target)
            if path.exists() and not self.overwrite:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            encoding = {"format": self.format.upper(), "subtype": _SUBTYPES[self.encoding]}
            try:
                with whole_file(path) as temporary:
                    soundfile.write(temporary, waveform.T.numpy(), sample_rate, **encoding)
            except (OSError, soundfile.SoundFileError) as error:
                raise MdxError(f"{path}: could not be written ({error})") from error

    def _within_full_scale(self, song: str, estimates: Tensor) -> Tensor:
        peak = float(estimates.abs().max())
        if peak <= 1:
            return estimates
        if self.clip == "rescale":
            log.warning("%s: peak %.3f, all of its estimates were divided by it", song, peak)
            return estimates / peak
        if self.clip == "clamp":
            log.warning("%s: peak %.3f, %d samples were cut off", song, peak, int((estimates.abs() > 1).sum()))
            return estimates.clamp(-1, 1)
        log.warning("%s: peak %.3f, kept above full scale", song, peak)
        return estimates
