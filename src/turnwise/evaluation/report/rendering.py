"""A report as HTML and as Markdown. Whatever a template is given is text, and escaped, unless it is marked as more."""

import base64
import hashlib
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import Raw, escaped
from turnwise.evaluation.report.page import Page


def html(page: Page) -> str:
    """One file that asks for no other; the browser is told to load nothing and to run nothing."""
    environment = _environment(True)
    style, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    drawn = {picture.name: Markup(picture.svg) for picture in page.pictures}  # noqa: S704 - ours
    return environment.get_template("report.html").render(
        page=page, policy=policy, style=Markup(style), drawn=drawn  # noqa: S704 - ours
    )  # fmt: skip


def markdown(page: Page) -> str:
    """GitHub's Markdown; pictures stand beside it."""
    return _environment(False).get_template("report.md").render(page=page)


@cache
def _environment(is_html: bool) -> Environment:
    found = Environment(
        loader=PackageLoader("turnwise.evaluation.report"),
        autoescape=is_html,  # noqa: S701 - Markdown is escaped by `finalize`
        finalize=None if is_html else escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["raw"] = Raw
    found.filters["shown"] = numbers.shown
    return found
