"""`mdx-progressive report`: a run of `test` as one HTML file that needs nothing else."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from mdx_progressive.evaluation import METRIC_HELP, RUN_HELP, read_run, report_page
from mdx_progressive.runtime import atomic_write, check_folder_of, escape_unprintable

_DESCRIPTION = """\
A run of `test` as one self-contained HTML file: the answer in one sentence and
five figures, the gains of the methods over one pass with intervals, the methods
between their bounds, a table of songs that sorts, and players that switch
between mixture, one pass, the best method, oracle and reference.

  mdx-progressive report logs/demo/version_0
  mdx-progressive report logs/demo/version_0 --metric sdr --out sdr.html
"""


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        prog="mdx-progressive report", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    options.add_argument("run", type=Path, metavar="RUN", help=RUN_HELP)
    options.add_argument("--metric", default="si_sdr", help=METRIC_HELP)
    options.add_argument("--out", type=Path, metavar="FILE.html", help="The file to write (default: RUN/report.html).")
    return options


def report(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If the run has no results, lacks the metric, or its audio files are damaged, or there is no folder for
            the file.
    """
    options = parser().parse_args(args)
    run = read_run(options.run, options.metric)
    out: Path = options.out or run.folder / "report.html"
    check_folder_of(out, "--out")
    page = report_page(run)
    with atomic_write(out) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    print(escape_unprintable(f"wrote {out}") + f" ({out.stat().st_size / 1e6:.2g} MB)")
