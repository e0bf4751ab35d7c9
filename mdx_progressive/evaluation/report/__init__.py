"""A run of `test` as one HTML page that needs nothing else."""

from mdx_progressive.evaluation.report.findings import Findings
from mdx_progressive.evaluation.report.page import report_page

__all__ = ["Findings", "report_page"]
