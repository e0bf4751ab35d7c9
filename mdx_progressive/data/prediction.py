"""What `predict` returns: estimates of chunks, and how those of a song's blocks are joined."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from mdx_progressive.data.batch import Origin
from mdx_progressive.dsp import join_blocks
from mdx_progressive.runtime import MdxError, escape_unprintable


class Prediction:
    """What `predict_step` returns.

    No dataclass and no tuple, on purpose, as `ChunkBatch`: Lightning takes collections apart to move or cast their
    tensors, and stops at the frozen dataclasses in this one.

    Args:
        origins: Where each item comes from; the pairs of channels of one chunk have one origin.
        targets: Names of the estimated sources.
        sample_rate: Sample rate of the estimates, the separator's, in Hz.
        estimates: The estimates at the mixture's original level, float32 or above.
        seconds: How long it took to make them.

    Shape:
        - estimates: (batch, target, channel, time), an item for each pair of channels
    """

    def __init__(
        self, origins: list[Origin], targets: list[str], sample_rate: int, estimates: Tensor, seconds: float
    ) -> None:
        self.origins = origins
        self.targets = targets
        self.sample_rate = sample_rate
        self.estimates = estimates
        self.seconds = seconds

    def __repr__(self) -> str:
        songs = [origin.song if origin.blocks == 1 else f"{origin.song}:{origin.chunk}" for origin in self.origins]
        return f"Prediction(origins={songs}, targets={self.targets}, estimates of shape {tuple(self.estimates.shape)})"

    def to(self, device: torch.device) -> "Prediction":
        """The same prediction on another device."""
        return Prediction(self.origins, self.targets, self.sample_rate, self.estimates.to(device), self.seconds)

    def chunks(self) -> Iterator[tuple[Origin, Tensor]]:
        """The estimates of each chunk (target, channel, time), all of its channels in their order."""
        first = 0
        while first < len(self.origins):
            origin = self.origins[first]
            items = self.estimates[first : first + len(origin.pairs.groups)]
            yield origin, origin.pairs.merge(items)
            first += len(items)


def join_songs(predictions: Iterable[Prediction], crossfade: int) -> dict[str, Tensor]:
    """The estimates of whole songs, by their names, in the order of their first blocks.

    Args:
        predictions: The predictions of all blocks of these songs, in any order.
        crossfade: The separator's crossfade in samples.

    Shape:
        - result: (target, channel, time) for each song, at the separator's sample rate

    Raises:
        MdxError: If a block is missing, as in one of several processes, or two have the same place in a song.
    """
    songs: dict[str, dict[int, Tensor]] = {}
    counts: dict[str, int] = {}
    for prediction in predictions:
        for origin, estimates in prediction.chunks():
            blocks = songs.setdefault(origin.song, {})
            counts[origin.song] = origin.blocks
            if origin.chunk in blocks:
                raise MdxError(f"{escape_unprintable(origin.song)}: block {origin.chunk} is there twice")
            blocks[origin.chunk] = origin.block.kept(estimates) if origin.block else estimates
    for song, blocks in songs.items():
        if missing := counts[song] - len(blocks):
            raise MdxError(f"{escape_unprintable(song)}: {missing} of its {counts[song]} blocks missing")
    return {
        song: torch.cat(list(join_blocks((blocks[number] for number in sorted(blocks)), crossfade)), dim=-1)
        for song, blocks in songs.items()
    }
