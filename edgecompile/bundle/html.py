"""`report.html`: the report as one page that needs nothing else, for somebody who was not there."""

from __future__ import annotations

from edgecompile.data.dataset import Dataset
from edgecompile.report import Report


def report_html(report: Report, data: Dataset | None) -> str:
    """Return the page; data gives the pictures of the most wrong rows. Equal reports give equal pages."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("edgecompile.bundle", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html").render(report=report, data=data)
