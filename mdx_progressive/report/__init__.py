"""`mdx-progressive report`: a run of `test` as one HTML file that needs nothing else."""

from mdx_progressive.report.command import report

__all__ = ["report"]
