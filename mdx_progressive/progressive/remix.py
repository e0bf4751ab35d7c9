"""How the input of the next pass is built from the mixture and the estimates: one operator.

Let `y` be the mixture, `x_t` the estimate of the target, `x_j` those of the other sources, `b` the blend weight
and `r = y - x_t - sum_{j != t} x_j` the residual, which is in no estimate. Every rule is

    y_n = (1 - b) y + b x_t + rho r

and keeps the target's gain at 1 and the others' at `1 - b`. Rules differ in the gain of the residual alone:
`1 - b` (`AddToMixture`), 1 (`SubtractOthers`), 0 (`RemixStems`). With the true stems for estimates of a mixture
that is their sum there is no residual, and all rules are one: the oracle.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mdx_progressive.runtime import MdxError

Weight = float | Tensor
"""A blend weight for all sources, or one for each (source, 1, 1)."""


class Remix(ABC):
    """A rule for the input of the next pass."""

    needs_all_sources = True
    """Whether it needs the estimates of all sources; otherwise each target only needs its own."""

    @abstractmethod
    def rho(self, weight: Weight) -> Weight:
        """Gain of the residual beyond its gain in the mixture."""

    def shares(self, sources: Sequence[str]) -> Sequence[float]:
        """The share of each source's estimate that is subtracted where another source is the target."""
        return [1.0] * len(sources)

    def __call__(self, mixture: Tensor, estimates: Tensor, weight: Weight, sources: Sequence[str]) -> Tensor:
        """The input of the next pass, for every source its own.

        Args:
            mixture: The mixture `y`.
            estimates: The estimates of the sources; all of them where the rule needs them.
            weight: Weight `b` of the estimate, within [0, 1); a number, or one for each source.
            sources: Names of the sources.

        Shape:
            - mixture: (batch, channel, time)
            - estimates and the result: (batch, source, channel, time)
            - weight: (source, 1, 1), where there is one for each

        Raises:
            MdxError: If the rule names a source that does not exist.
        """
        mixture = mixture.unsqueeze(1)
        blended = torch.lerp(mixture.expand_as(estimates), estimates, weight)
        if not self.needs_all_sources:
            return blended
        shares = torch.tensor(self.shares(sources), dtype=estimates.dtype, device=estimates.device)
        weighted = shares[:, None, None] * estimates
        residual = mixture - estimates - (weighted.sum(dim=1, keepdim=True) - weighted)
        return blended + self.rho(weight) * residual


class AddToMixture(Remix):
    """The founding study's equation 1: `(1 - b) y + b x_t`.

    It equals `y + g x_t` with `b = g / (1 + g)`, up to an overall scale.

    Example:
        >>> AddToMixture()(torch.full((1, 1, 2), 1.0), torch.full((1, 1, 1, 2), 3.0), 0.25, ["vocals"])
        tensor([[[[1.5000, 1.5000]]]])
    """

    needs_all_sources = False

    def rho(self, weight: Weight) -> Weight:
        return 0.0


class SubtractOthers(Remix):
    """The other sources are turned down: `y - b sum_{j != t} c_j x_j`. The residual stays as it is.

    Args:
        shares: `c_j` for some sources, each within [0, 1]; 1 for the others. With 1 for the sources that are separated
            reliably and 0 for the rest it peels the reliable ones off.

    Raises:
        MdxError: If a share is out of its range.

    Example:
        >>> estimates = torch.tensor([0.5, 0.4]).view(1, 2, 1, 1)
        >>> SubtractOthers()(torch.ones(1, 1, 1), estimates, 0.5, ["vocals", "other"]).flatten()
        tensor([0.8000, 0.7500])
        >>> SubtractOthers({"other": 0.0})(torch.ones(1, 1, 1), estimates, 0.5, ["vocals", "other"]).flatten()
        tensor([1.0000, 0.7500])
    """

    def __init__(self, shares: Mapping[str, float] | None = None) -> None:
        self._shares = dict(shares or {})
        for source, share in self._shares.items():
            if not 0 <= share <= 1:
                raise MdxError(f"the share of {source} must lie within [0, 1], not {share}")

    def shares(self, sources: Sequence[str]) -> Sequence[float]:
        if unknown := sorted(set(self._shares) - set(sources)):
            raise MdxError(f"shares of {', '.join(unknown)}: no such source; there are {', '.join(sources)}")
        return [self._shares.get(source, 1.0) for source in sources]

    def rho(self, weight: Weight) -> Weight:
        return weight


class RemixStems(Remix):
    """The estimates alone are mixed again: `x_t + (1 - b) sum_{j != t} x_j`. The residual is left out.

    Example:
        >>> estimates = torch.tensor([0.5, 0.4]).view(1, 2, 1, 1)
        >>> RemixStems()(torch.ones(1, 1, 1), estimates, 0.5, ["vocals", "other"]).flatten()
        tensor([0.7000, 0.6500])
    """

    def rho(self, weight: Weight) -> Weight:
        return weight - 1.0


def limit_peak(blended: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor]:
    """Scale down each input that is above full scale; its estimates must be divided by the returned gain.

    Separators are trained on signals within full scale, and not all of them are scale-free. A mixture that is
    itself above full scale (the sum of stems often is) goes to the plain pass as it is, so it also sets the limit
    for its blends: at weight 0 they are the same input.

    Args:
        blended: Inputs of the next pass.
        mixture: The mixture that they were made from.

    Returns:
        The inputs with no peak above `max(1, peak of the mixture)`, and the applied gain, at most 1.

    Shape:
        - blended: (batch, target, channel, time)
        - mixture: (batch, channel, time)
        - gain: (batch, target, 1, 1)

    Example:
        >>> limited, gain = limit_peak(torch.tensor([[[[0.5, -2.0]]]]), torch.tensor([[[0.9, -0.8]]]))
        >>> limited.tolist(), gain.item()
        ([[[[0.25, -1.0]]]], 0.5)
    """
    limit = mixture.abs().amax(dim=(-2, -1)).clamp(min=1.0)
    peak = blended.abs().amax(dim=(-2, -1))
    gain = (limit.unsqueeze(1) / peak).clamp(max=1.0)[..., None, None]
    return blended * gain, gain
