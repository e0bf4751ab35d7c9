"""Channel pairs: songs of more than two channels, as items that a stereo network can separate."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_MIRROR = str.maketrans("LR", "RL")


@dataclass(frozen=True)
class ChannelPairs:
    """Which channels are separated together.

    Args:
        groups: Numbers of one or two channels each; every channel is in one of them.
    """

    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def for_layout(cls, channels: int, layout: Sequence[str] | None = None) -> "ChannelPairs":
        """The pairs of a song.

        Left and right of each kind are a pair; a channel without a counterpart, as the centre or the low-frequency
        effects, is alone. Where the layout is unknown, channels that follow each other are a pair, and a last one
        is alone.

        Args:
            channels: Number of channels.
            layout: FFmpeg's names of them (FL, FR, FC, LFE, ...), if there is one for each.

        Example:
            >>> ChannelPairs.for_layout(6, ["FL", "FR", "FC", "LFE", "BL", "BR"]).groups
            ((0, 1), (2,), (3,), (4, 5))
            >>> ChannelPairs.for_layout(5).groups
            ((0, 1), (2, 3), (4,))
        """
        if layout is None or len(layout) != channels or channels <= 2:
            return cls(tuple(tuple(range(first, min(first + 2, channels))) for first in range(0, channels, 2)))
        groups: dict[frozenset[str], list[int]] = {}
        for number, name in enumerate(layout):
            groups.setdefault(frozenset({name, name.translate(_MIRROR)}), []).append(number)
        return cls(tuple(tuple(group) for group in groups.values()))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(map(len, self.groups))

    def split(self, waveform: Tensor) -> Tensor:
        """Each group as an item of a batch; one channel beside pairs goes to both sides.

        Shape:
            - waveform: (channel, time)
            - result: (group, 1 or 2, time)
        """
        most = max(map(len, self.groups))
        return torch.stack([waveform[list(group)].expand(most, -1) for group in self.groups])

    def merge(self, items: Tensor) -> Tensor:
        """All channels in their order, from estimates of the groups; a single channel is the mean of both sides.

        Shape:
            - items: (group, ..., 1 or 2, time)
            - result: (..., channel, time)

        Example:
            >>> song, pairs = torch.randn(3, 4), ChannelPairs.for_layout(3)
            >>> torch.equal(pairs.merge(pairs.split(song)), song)
            True
        """
        if len(self.groups) == 1:
            return items[0]
        result = items.new_empty(*items.shape[1:-2], self.channels, items.shape[-1])
        for item, group in zip(items, self.groups, strict=True):
            result[..., list(group), :] = item if len(group) == item.shape[-2] else item.mean(dim=-2, keepdim=True)
        return result


STEREO = ChannelPairs.for_layout(2)
"""Mono and stereo: one item of a batch."""
