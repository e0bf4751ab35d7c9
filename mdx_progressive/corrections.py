"""What can be done to estimates after their last step: constraints that the network ignores, errors that show.

Let `x_j` be the estimates, `y` the mixture and `r = y - sum_j x_j` the residual that is in none of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path
from mdx_progressive.spectra import (
    bands_of_bins,
    channels_apart,
    deviations,
    mixed,
    products,
    spectra_of,
    waveforms_of,
)
from mdx_progressive.torchaudio_import import import_torchaudio

_SMALL = 1e-10


class Correction(ABC):
    """Changes the estimates that a method hands out."""

    needs_others = True
    """Whether it needs the estimates of all sources, whichever are wanted."""
    passes = 0
    """Passes that it makes."""

    @abstractmethod
    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        """The estimates, corrected.

        Args:
            passes: The separator and the mixture.
            path: All passes that the combination of the method looks at.
            estimates: What the method, or the correction before this one, gave.

        Shape:
            - estimates and the result: (batch, source, channel, time)
        """


class MixtureConsistency(Correction):
    """The estimates are made to add up to the mixture: `x_j + w_j r`. Wisdom et al., 2019.

    Args:
        power: The weights `w_j` are the estimates' energies in the chunk to this power, over their sum: 0 gives
            every source the same part of the residual, 1 a part in proportion to its energy.

    Raises:
        MdxError: If `power` is negative.
    """

    def __init__(self, power: float = 0.0) -> None:
        if not power >= 0:
            raise MdxError(f"the power of the energies must be 0 or more, not {power}")
        self.power = power

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        weights = (estimates.square().sum(dim=(-2, -1), keepdim=True) + _SMALL) ** self.power
        return estimates + weights / weights.sum(dim=1, keepdim=True) * _residual(passes, estimates)


class VarianceConsistency(Correction):
    """Mixture consistency with weights of each time-frequency bin: `w_j` is the share of source `j` in the variance.

    The variance is that between the passes, smoothed over five bins and five frames: where the passes disagree on a
    source, its estimate is the one that may move. Needs a step with more than one view.

    Args:
        strength: Part of the residual that is handed out, within [0, 1].

    Raises:
        MdxError: If `strength` is out of its range.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not 0 <= strength <= 1:
            raise MdxError(f"the strength of a correction must lie within [0, 1], not {strength}")
        self.strength = strength

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        variance = _variance(path) + _SMALL
        weights = variance / variance.sum(dim=1, keepdim=True)
        shared = weights * spectra_of(_residual(passes, estimates))
        return estimates + self.strength * waveforms_of(shared, estimates.shape[-1])


class VarianceShrinkage(Correction):
    """Bins on which the passes disagree are turned down: `x P / (P + V / K)`, as a Wiener filter would.

    `P` is the power of the estimate and `V` the variance between the passes of a step, both smoothed over five bins and
    five frames, and `K` the number of all passes. Needs a step with more than one view.
    """

    needs_others = False

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        spectra = spectra_of(estimates)
        power, variance = _smooth(spectra.abs().square()), _variance(path) / len(path.every)
        return waveforms_of(spectra * power / (power + variance + _SMALL), estimates.shape[-1])


class Complement(Correction):
    """One source is what the others leave of the mixture: `x_j + r`.

    Right where that source gathers what the network leaves out, as the accompaniment does.

    Args:
        source: Its name.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        if self.source not in passes.sources:
            raise MdxError(f"Complement: there is no source {self.source}, only {', '.join(passes.sources)}")
        taken = torch.tensor([source == self.source for source in passes.sources], device=estimates.device)
        return estimates + taken[:, None, None] * _residual(passes, estimates)


class CovarianceShrinkage(Correction):
    """What the passes disagree on is taken back, across sources: a Wiener filter over the estimates, in each band.

    `x' = M (M + strength V)^-1 x` with the energies `M_jk = sum x_j x_k*` of the estimates and the covariance `V` of
    the passes around the mean of their step, over all frames of a band; `j` and `k` are the channels of all sources.
    On its diagonal `V` turns a source down that the passes disagree on; off it, it moves what one source gains
    wherever another one loses it, which is how a leak between two sources shows, and it keeps a source where it is in
    the stereo image. Needs a step with more than one view.

    Args:
        strength: Weight of the covariance, 0 or more. The mean of `K` passes has `1 / K` of it left by chance; but
            what varies between passes also hints at what all of them get wrong, so that more pays.
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    def __init__(self, strength: float = 2.0, bands: int = 80) -> None:
        if not strength >= 0:
            raise MdxError(f"the strength of a shrinkage must be 0 or more, not {strength}")
        if bands < 1:
            raise MdxError(f"there must be 1 band or more, not {bands}")
        self.strength, self.bands = strength, bands

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        spectra = channels_apart(spectra_of(estimates))
        band = bands_of_bins(self.bands).to(spectra.device)
        signal = products(spectra, spectra, band)
        noise = torch.zeros_like(signal)
        for deviation in map(channels_apart, deviations(path.passes)):
            noise += products(deviation, deviation, band)
        energy = signal.diagonal(dim1=-2, dim2=-1)
        signal = signal + torch.diag_embed(1e-3 * energy + _SMALL)  # never singular, even where sources are silent
        kept: Tensor = torch.linalg.solve(signal + self.strength * noise, signal, left=False)
        del spectra
        return mixed(estimates, kept - torch.eye(kept.shape[-1], device=kept.device), band)


class Stacking(Correction):
    """The passes are put together with weights of each source and band, fitted on songs by `mdx-progressive tune`.

    `x_j = sum_k w_jbk x_jk` in band `b`, in place of what the combination of the method made of the passes.

    Args:
        bands: Number of bands that were asked for, equally wide in octaves where a bin is narrower than that.
        weights: For each source the bands, for each band the weights of the passes in the order in which they are
            made.

    Raises:
        MdxError: If sources differ in their numbers of bands or passes.
    """

    needs_others = False

    def __init__(self, bands: int, weights: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.band = bands_of_bins(bands)
        self.weights = {source: [list(band) for band in of_source] for source, of_source in weights.items()}
        count = int(self.band[-1]) + 1
        found = {len(band) for of_source in self.weights.values() for band in of_source}
        if len(found) != 1 or {len(of_source) for of_source in self.weights.values()} != {count}:
            raise MdxError(f"Stacking needs weights for {count} bands of each source, as many in each")
        (self.count,) = found

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        every = path.every
        if missing := [source for source in passes.sources if source not in self.weights]:
            raise MdxError(f"Stacking has no weights for {', '.join(missing)}, only for {', '.join(self.weights)}")
        if len(every) != self.count:
            raise MdxError(
                f"Stacking was fitted on {self.count} passes, but this method hands {len(every)} to it: use it with the"
                " method that it was fitted on"
            )
        weights = torch.tensor([self.weights[source] for source in passes.sources]).to(estimates)
        of_bins = weights[:, self.band]
        stacked = torch.zeros((), device=estimates.device)
        for number, each in enumerate(every):
            stacked = stacked + of_bins[:, None, :, None, number] * spectra_of(each)
        return waveforms_of(stacked, estimates.shape[-1])


class ResidualSeparation(Correction):
    """What no estimate has is separated too: `x_j + f_j(r)`. One pass for all sources."""

    passes = 1

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        return estimates + passes.over(_residual(passes, estimates))[0]


class CleanUp(Correction):
    """Each estimate is separated once more, alone: `x_t + strength (f_t(x_t) - x_t)`. One pass for each source.

    Args:
        strength: 0 leaves the estimate, 1 takes the second one instead.
    """

    needs_others = False
    passes = 1

    def __init__(self, strength: float = 0.5) -> None:
        self.strength = strength

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        return torch.lerp(estimates, passes.over(estimates)[0], self.strength)


class Wiener(Correction):
    """Multichannel Wiener filter of all sources, its spectra and spatial covariances refined by EM.

    Nugraha, Liutkus and Vincent, 2016, as openunmix implements it.

    Args:
        iterations: Iterations of expectation maximisation, 1 or more.
        strength: 0 leaves the estimates, 1 takes the filtered ones instead.

    Raises:
        MdxError: If `iterations` is below 1.
    """

    def __init__(self, iterations: int = 1, strength: float = 0.1) -> None:
        if iterations < 1:
            raise MdxError(f"Wiener needs 1 iteration or more, not {iterations}")
        self.iterations, self.strength = iterations, strength

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        import_torchaudio()  # openunmix imports it
        from openunmix.filtering import expectation_maximization

        filtered = []
        for mixture, of_chunk in zip(passes.mixture, estimates, strict=True):
            heard, spectra = spectra_of(mixture), spectra_of(of_chunk)
            scale = max(1.0, heard.abs().amax().item() / 10)
            # openunmix has (frame, bin, channel, real and imaginary, source)
            sources = torch.view_as_real(spectra.permute(3, 2, 1, 0)).movedim(-1, -2) / scale
            found, *_ = expectation_maximization(
                sources, torch.view_as_real(heard.permute(2, 1, 0)) / scale, self.iterations
            )
            filtered.append(torch.view_as_complex(found.movedim(-1, -2).contiguous()).permute(3, 2, 1, 0) * scale)
        return torch.lerp(estimates, waveforms_of(torch.stack(filtered), estimates.shape[-1]), self.strength)


def _residual(passes: Passes, estimates: Tensor) -> Tensor:
    return passes.mixture.unsqueeze(1) - estimates.sum(dim=1, keepdim=True)


def _smooth(power: Tensor) -> Tensor:
    """Means over five bins and five frames, (batch, source, channel, bin, frame)."""
    flat = avg_pool2d(power.flatten(0, -3), 5, stride=1, padding=2, count_include_pad=False)
    return flat.view(power.shape)


def _variance(path: Path) -> Tensor:
    """Smoothed variance (batch, source, channel, bin, frame) between the passes of a step."""
    total = torch.zeros((*path.estimates.shape[:-1], 1, 1), device=path.estimates.device)
    for deviation in deviations(path.passes):
        total = total + deviation.abs().square()
    return _smooth(total)
