"""Several separators as one: means of their estimates, or one after the other."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from mdx_progressive.dsp import ReceptiveField, mono_levels
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import Separator

_LONGEST_GRID = 60
"""Seconds of the longest grid on which the blocks of a song begin."""


class _Members(Separator):
    """What a committee and a cascade share: members that hear the same rate and channels.

    Args:
        members: The separators, at least two.

    Raises:
        MdxError: If there are fewer, or their sample rates or channels differ.
    """

    def __init__(self, members: Sequence[Separator]) -> None:
        super().__init__()
        if len(members) < 2:
            raise MdxError(f"{type(self).__name__} needs two members or more, not {len(members)}")
        for what in ("sample_rate", "channels"):
            values = [getattr(member, what) for member in members]
            if len(set(values)) > 1:
                raise MdxError(
                    f"members of a {type(self).__name__} must have the same {what.replace('_', ' ')}, not"
                    f" {', '.join(map(str, values))}"
                )
        self.members = nn.ModuleList(members)
        self.sample_rate, self.channels = members[0].sample_rate, members[0].channels
        self.networks = nn.ModuleList(network for member in members for network in member.networks)
        self.standardise = any(member.standardise for member in members)
        self.context = max(member.context for member in members)
        self.licence = ", ".join(dict.fromkeys(member.licence for member in members))
        known = [member.musdb_test for member in members]
        self.musdb_test = True if True in known else None if None in known else False
        self.files = [file for member in members for file in member.files]
        self.name = "+".join(member.name or type(member).__name__ for member in members)
        self.freeze()

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of the files of each member, by its number and their names: several may be called alike."""
        return {
            f"{number} {name}": value
            for number, member in enumerate(self._each(), 1)
            for name, value in member.checksums.items()
        }

    @property
    def receptive_field(self) -> ReceptiveField:
        """The context of all members, on the grid of all of them.

        Where their grids meet less than once a minute, blocks begin on the widest one: segments of the others then lie
        otherwise in a block than in the whole song.
        """
        fields = [member.receptive_field for member in self._each()]
        grid = math.lcm(*(field.grid for field in fields))
        if grid > _LONGEST_GRID * self.sample_rate:
            grid = max(field.grid for field in fields)
        before, after = self._context(fields)
        return ReceptiveField(grid, before, max(field.crossfade for field in fields), after)

    @abstractmethod
    def _context(self, fields: Sequence[ReceptiveField]) -> tuple[int, int]:
        """The context before and after, of the fields of the members."""

    @property
    def shift_span(self) -> float:
        return max(member.shift_span for member in self._each())

    def separate_at(self, mixture: Tensor, indices: Tensor, levels: Tensor | None) -> Tensor:
        if not self.standardise:
            return self._cross(mixture, indices, None)
        # The mean is taken from all members, since it could not be told afterwards which estimates have it.
        levels = mono_levels(mixture) if levels is None else levels.to(mixture)
        mean = levels[:, :1, None]
        return self._cross(mixture - mean, indices, levels * levels.new_tensor([0, 1])) + mean.unsqueeze(1)

    @abstractmethod
    def _cross(self, mixture: Tensor, indices: Tensor, levels: Tensor | None) -> Tensor:
        """As `Separator.separate_at`, with levels for the members that standardise."""

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        return self.separate_at(mixture, indices, None)

    def _regions(self) -> Iterator[nn.Module]:
        for member in self._each():
            yield from member._regions()

    @staticmethod
    def _estimate(member: Separator, mixture: Tensor, indices: Tensor, levels: Tensor | None) -> Tensor:
        """The estimates of a member, each in its own precision."""
        with member.precision(mixture.device) as dtype:
            return member.separate_at(mixture.to(dtype), indices, levels).to(mixture)

    def _each(self) -> Iterator[Separator]:
        for member in self.members:
            assert isinstance(member, Separator)
            yield member


class Committee(_Members):
    """Each source is the weighted mean of what the members estimate of it.

    Networks of different kinds err differently, so that a mean of theirs is better than each. A method crosses them: at
    each step, all members hear what all of them have estimated.

    Args:
        members: The separators. The sources are those of the first; others take part in those of the same name.
        weights: For a source, the weight of each member, 0 or more; by default all that have the source count alike.

    Raises:
        MdxError: If `weights` names no source, has another number of them than there are members, is negative, or
            leaves a source to members that do not have it.

    Example:
        >>> from mdx_progressive import SpleeterSeparator
        >>> two = Committee([SpleeterSeparator(bins=64), SpleeterSeparator(bins=64)], {"vocals": [3, 1]})
        >>> two.sources, tuple(two(torch.zeros(1, 2, 44100)).shape)
        (['vocals', 'accompaniment'], (1, 2, 2, 44100))
    """

    def __init__(self, members: list[Separator], weights: Mapping[str, list[float]] | None = None) -> None:
        super().__init__(members)
        self.sources = list(members[0].sources)
        weights = weights or {}
        if unknown := sorted(set(weights) - set(self.sources)):
            raise MdxError(f"weights of {', '.join(unknown)}: the sources are {', '.join(self.sources)}")
        table = [weights.get(source) or [float(source in each.sources) for each in members] for source in self.sources]
        for source, row in zip(self.sources, table, strict=True):
            if len(row) != len(members) or not all(0 <= value < math.inf for value in row):
                raise MdxError(f"weights of {source} must be {len(members)} numbers of 0 or more, not {row}")
            if not sum(row) or any(
                value and source not in each.sources for value, each in zip(row, members, strict=True)
            ):
                raise MdxError(
                    f"weights of {source}, {row}, must be above 0 for members that have it, and 0 for others"
                )
        self.weights = torch.tensor(table).T
        """The weight of each source in each member, (member, source)."""

    def _context(self, fields: Sequence[ReceptiveField]) -> tuple[int, int]:
        return max(field.before for field in fields), max(field.after for field in fields)

    def _cross(self, mixture: Tensor, indices: Tensor, levels: Tensor | None) -> Tensor:
        total = mixture.new_zeros(*indices.shape, *mixture.shape[1:])
        for member, weights in zip(self._each(), self.weights, strict=True):
            places = torch.tensor([each in member.sources and member.sources.index(each) for each in self.sources])
            shares = (weights / self.weights.sum(dim=0))[indices]
            items = shares.any(dim=1).nonzero().squeeze(1)
            if not len(items):
                continue
            # Where a member has no part in a target, it estimates one again in which it has.
            first = indices[items].gather(1, shares[items].argmax(dim=1, keepdim=True))
            asked = places[torch.where(shares[items] > 0, indices[items], first)]
            heard = None if levels is None else levels[items]
            estimates = self._estimate(member, mixture[items], asked, heard)
            total[items] += shares[items].to(total)[..., None, None] * estimates
        return total


class Cascade(_Members):
    """One source is taken out first, and another separator hears the mixture without it.

    Args:
        members: Two separators: that of the first source, and that of all others.
        source: The source that is taken out first.

    Raises:
        MdxError: If there are more than two members, the first has no such source, or the second has no other.

    Example:
        >>> from mdx_progressive import SpleeterSeparator
        >>> Cascade([SpleeterSeparator(bins=64), SpleeterSeparator(bins=64)]).sources
        ['vocals', 'accompaniment']
    """

    def __init__(self, members: list[Separator], source: str = "vocals") -> None:
        super().__init__(members)
        if len(members) != 2:
            raise MdxError(f"a cascade has two members, not {len(members)}")
        first, rest = members
        if source not in first.sources:
            raise MdxError(f"the first member of the cascade has no {source}, only {', '.join(first.sources)}")
        self.source = source
        others = [each for each in rest.sources if each != source]
        if not others:
            raise MdxError(f"the second member of the cascade has no source but {source}")
        self.sources = [*others, source] if rest.sources[0] != source else [source, *others]

    def _context(self, fields: Sequence[ReceptiveField]) -> tuple[int, int]:
        # No segment of the second that counts may hear what the first has estimated without its context.
        first, rest = fields
        return -(-first.before // rest.grid) * rest.grid + rest.before, first.after + rest.after

    def _cross(self, mixture: Tensor, indices: Tensor, levels: Tensor | None) -> Tensor:
        first, rest = self._each()
        taken = self.sources.index(self.source)
        one = torch.full((len(mixture), 1), first.sources.index(self.source))
        source = self._estimate(first, mixture, one, levels)
        estimates = source.expand(-1, indices.shape[1], -1, -1).clone()
        items = (indices != taken).any(dim=1).nonzero().squeeze(1)
        if len(items):
            places = torch.tensor([0 if each == self.source else rest.sources.index(each) for each in self.sources])
            heard = None if levels is None else levels[items]
            others = self._estimate(rest, mixture[items] - source[items, 0], places[indices[items]], heard)
            chosen = (indices[items] != taken)[..., None, None].to(mixture.device)
            estimates[items] = torch.where(chosen, others, estimates[items])
        return estimates
