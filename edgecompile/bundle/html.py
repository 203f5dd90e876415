"""`report.html`."""

from edgecompile.data.dataset import Dataset
from edgecompile.report import Report


def report_html(report: Report, data: Dataset | None) -> str:
    return ""
