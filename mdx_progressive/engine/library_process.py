"""The separator's own library in its own process, as its own tool would run it: what `benchmark` compares with."""

from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from mdx_progressive.runtime import MdxError, Stopwatch, peak_memory, reset_peak_memory
from mdx_progressive.separators import Separator


class LibraryProcess:
    """The separator's own library, in its own process; `available` is False for a family that has none.

    Args:
        separator: The separator, on the CPU.
        mixture: The mixture of the chunk (batch, channel, time), on the CPU.
        device: Where to run.
    """

    def __init__(self, separator: Separator, mixture: Tensor, device: torch.device) -> None:
        self.available = separator.reference_implementation() is not None
        if self.available:
            context = get_context("spawn")
            self._connection, theirs = context.Pipe()
            threads = torch.get_num_threads()
            self._process = context.Process(
                target=_serve, args=(theirs, separator, mixture, device, threads), daemon=True
            )
            self._process.start()
            theirs.close()
            self.run(1)

    def run(self, passes: int) -> tuple[float, int | None]:
        """Seconds and peak memory of a number of passes.

        Raises:
            MdxError: If the process has ended, by an error or out of memory.
        """
        try:
            self._connection.send(passes)
            answer: tuple[float, int | None] = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise MdxError(
                f"the separator's own library ended with exit code {self._process.exitcode} in its process (its message"
                " stands above, unless it was killed because it was out of memory); a shorter --data.chunk needs less"
            ) from None
        return answer

    def close(self) -> None:
        """End the process."""
        if self.available:
            self._connection.send(0)
            self._process.join()


def _serve(connection: Connection, separator: Separator, mixture: Tensor, device: torch.device, threads: int) -> None:
    torch.set_num_threads(threads)
    run = separator.to(device).reference_implementation()
    assert run is not None
    mixture = mixture.to(device)
    with torch.inference_mode():
        while passes := connection.recv():
            reset_peak_memory(device)
            watch = Stopwatch(device)
            with watch.measure():
                for _ in range(passes):
                    run(mixture)
            connection.send((watch.seconds, peak_memory(device)))
