"""Several separators as one: means of their estimates, or one after the other."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from mdx_progressive.dsp import ReceptiveField, mono_levels, without_mean
from mdx_progressive.runtime import MdxError, find_name
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
            return self._cross(mixture, None, indices)
        # The mean is taken from all members, since it could not be told afterwards which estimates have it.
        levels = mono_levels(mixture) if levels is None else levels.to(mixture)
        return self._cross(*without_mean(mixture, levels), indices) + levels[:, :1, None, None]

    @abstractmethod
    def _cross(self, mixture: Tensor, levels: Tensor | None, indices: Tensor) -> Tensor:
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
        given = {}
        for name, row in (weights or {}).items():
            source = find_name(name, self.sources)
            if source is None:
                raise MdxError(f"weights of {name}: the sources are {', '.join(self.sources)}")
            given[source] = row
        places = [[_place(source, member) for member in members] for source in self.sources]
        table = []
        for source, own in zip(self.sources, places, strict=True):
            row = given.get(source, [float(place is not None) for place in own])
            if len(row) != len(members) or not all(0 <= weight < math.inf for weight in row):
                raise MdxError(f"weights of {source} must be {len(members)} numbers of 0 or more, not {row}")
            if not sum(row) or any(weight and place is None for weight, place in zip(row, own, strict=True)):
                raise MdxError(
                    f"weights of {source}, {row}, must be above 0 for members that have it, and 0 for others"
                )
            table.append([weight / sum(row) for weight in row])
        self._shares = torch.tensor(table).T
        """The share of each member in each source, (member, source)."""
        self._places = torch.tensor([[place or 0 for place in own] for own in places]).T
        """The index of each source among those of each member, (member, source); 0 where it has none."""

    def _context(self, fields: Sequence[ReceptiveField]) -> tuple[int, int]:
        return max(field.before for field in fields), max(field.after for field in fields)

    def _cross(self, mixture: Tensor, levels: Tensor | None, indices: Tensor) -> Tensor:
        total = mixture.new_zeros(*indices.shape, *mixture.shape[1:])
        for member, member_shares, places in zip(self._each(), self._shares, self._places, strict=True):
            shares = member_shares[indices]
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
        place, own = _place(source, first), _place(source, rest)
        if place is None:
            raise MdxError(f"the first member of the cascade has no {source}, only {', '.join(first.sources)}")
        others = [each for each in range(len(rest.sources)) if each != own]
        if not others:
            raise MdxError(f"the second member of the cascade has no source but {source}")
        self._source_of_first = place
        self._taken = 0 if own == 0 else len(others)
        """The index of the source that is taken out: the first as in the second member, or else the last."""
        self._places = torch.tensor([*others[: self._taken], 0, *others[self._taken :]])
        """The index of each source among those of the second member; of the one that is taken out, of any."""
        self.sources = [rest.sources[each] for each in self._places]
        self.sources[self._taken] = first.sources[place]

    def _context(self, fields: Sequence[ReceptiveField]) -> tuple[int, int]:
        # No segment of the second that counts may hear what the first has estimated without its context.
        first, rest = fields
        return -(-first.before // rest.grid) * rest.grid + rest.before, first.after + rest.after

    def _cross(self, mixture: Tensor, levels: Tensor | None, indices: Tensor) -> Tensor:
        first, rest = self._each()
        source = self._estimate(first, mixture, torch.full((len(mixture), 1), self._source_of_first), levels)
        estimates = source.expand(-1, indices.shape[1], -1, -1).clone()
        others = indices != self._taken
        items = others.any(dim=1).nonzero().squeeze(1)
        if len(items):
            heard = None if levels is None else levels[items]
            remainder = mixture[items] - source[items, 0]
            found = self._estimate(rest, remainder, self._places[indices[items]], heard)
            chosen = others[items][..., None, None].to(mixture.device)
            estimates[items] = torch.where(chosen, found, estimates[items])
        return estimates


def _place(source: str, member: Separator) -> int | None:
    """The index of a source among those of a member, in upper or lower case; None where it has none."""
    name = find_name(source, member.sources)
    return None if name is None else member.sources.index(name)
