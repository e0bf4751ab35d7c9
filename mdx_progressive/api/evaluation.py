"""Methods measured on songs with known stems, as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mdx_progressive.progressive import Method
from mdx_progressive.separators import Separator

if TYPE_CHECKING:
    import pandas as pd

    from mdx_progressive.data import SongDataset
    from mdx_progressive.evaluation import Metric


def evaluate(
    songs: "str | Path | SongDataset",
    separator: Separator,
    methods: Sequence[Method],
    *,
    targets: Sequence[str] | None = None,
    metrics: "Sequence[Metric] | None" = None,
    oracle: bool = False,
    chunk: float | None = 30.0,
    all_chunks: bool = False,
    trim: float | None = 60.0,
    progress: bool = False,
) -> "pd.DataFrame":
    """Measure methods on songs with known stems, as `mdx-progressive test` does.

    Args:
        songs: A folder of songs, each a folder with one audio file per stem; or a data set, such as BuiltinClip().
        separator: The frozen separator.
        methods: What is measured beside one pass, which always is.
        targets: Sources to estimate; all of the separator's by default.
        metrics: By default SiSdr, Sdr and BssEval without its components.
        oracle: Whether the upper bound of the first method is measured too.
        chunk: Length of a chunk in seconds; None for whole songs.
        all_chunks: Whether all chunks of a song are measured, not only the first.
        trim: A stem starts at its first frame within this many dB of its loudest one; None for the song's beginning.
        progress: Whether a bar is shown on stderr.

    Returns:
        The columns of results.csv: song, chunk, method, step, passes, weight, source, metric, value.

    Raises:
        MdxError: If there is no song that can be read, or two methods have one name.

    Example:
        >>> import mdx_progressive as mdx
        >>> spleeter = mdx.load_separator("spleeter", bins=64)
        >>> method = mdx.Progressive(mdx.Linear(0.3), steps=1)
        >>> table = evaluate(mdx.BuiltinClip(), spleeter, [method], chunk=1, metrics=[mdx.SiSdr()])
        >>> table.columns.tolist()
        ['song', 'chunk', 'method', 'step', 'passes', 'weight', 'source', 'metric', 'value']
        >>> sorted(set(table.method))
        ['linear', 'one-pass']
    """
    from lightning.pytorch import Trainer

    from mdx_progressive.data import SongDataModule
    from mdx_progressive.engine import ProgressiveDemixing, RowCollector, StepProgressBar, quiet_lightning
    from mdx_progressive.progressive import OnePass

    first, *others = methods or [OnePass()]
    model = ProgressiveDemixing(
        separator,
        first,
        others,
        list(targets) if targets else None,
        oracle=oracle,
        metrics=list(metrics) if metrics else None,
    )
    root, dataset = (songs, None) if isinstance(songs, str | Path) else (None, songs)
    data = SongDataModule.for_separator(
        separator, root=root, dataset=dataset, chunk=chunk, all_chunks=all_chunks, trim=trim
    )
    rows = RowCollector()
    with quiet_lightning():
        trainer = Trainer(
            accelerator="auto", logger=False, enable_checkpointing=False, enable_model_summary=False,
            enable_progress_bar=progress, callbacks=[rows, *([StepProgressBar()] if progress else [])],
        )  # fmt: skip
        trainer.test(model, data, verbose=False)
    return rows.table
