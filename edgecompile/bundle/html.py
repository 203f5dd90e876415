"""`report.html`: the report as one page that needs nothing else, for somebody who was not there."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from edgecompile.bundle.page import page
from edgecompile.data.dataset import Dataset
from edgecompile.report import Report
from edgecompile.verify.wording import VERDICTS

if TYPE_CHECKING:
    from jinja2 import Environment


def report_html(report: Report, data: Dataset | None) -> str:
    """Return the page; data gives the pictures of the most wrong rows. Equal reports give equal pages.

    The page loads nothing: style, plots and pictures are inside, there is no script, and its content policy forbids
    the browser to fetch anything.
    """
    return _environment().get_template("report.html").render(page=page(report, data))


@cache
def _environment() -> Environment:
    """Return the environment with its compiled templates: made once for all targets of a build."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgecompile.bundle", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    environment.globals["verdicts"] = VERDICTS
    return environment


def _code(text: str) -> str:
    """Return text, escaped, with what stands between backticks set as code."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    if len(parts) % 2 == 0:  # a lone backtick means itself
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))
