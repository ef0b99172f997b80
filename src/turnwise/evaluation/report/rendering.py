"""Renders a report as HTML and as Markdown. Templates escape all values except those marked as safe."""

import base64
import hashlib
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import Raw, escape_markdown
from turnwise.evaluation.report.page import ReportPage


def render_html(page: ReportPage, template: str) -> str:
    """Render one self-contained HTML file; its content security policy blocks scripts and all requests.

    Args:
        page: the contents.
        template: name of the template without suffix: "chat" or "classifier".
    """
    environment = _environment(True)
    style, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    svgs = {figure.name: Markup(figure.svg) for figure in page.figures}  # noqa: S704 - our own SVG
    return environment.get_template(f"{template}.html").render(
        page=page, policy=policy, style=Markup(style), svgs=svgs  # noqa: S704 - our own style sheet
    )  # fmt: skip


def render_markdown(page: ReportPage, template: str) -> str:
    """Render GitHub Markdown; figures are files beside it. Arguments as for `render_html`."""
    return _environment(False).get_template(f"{template}.md").render(page=page)


@cache
def _environment(is_html: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("turnwise.evaluation.report"),
        autoescape=is_html,  # noqa: S701 - `finalize` escapes Markdown
        finalize=None if is_html else escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["raw"] = Raw
    environment.filters["format_value"] = numbers.format_value
    return environment
