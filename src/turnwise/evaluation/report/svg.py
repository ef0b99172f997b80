"""Draws matplotlib figures as SVG that takes its colors from the page's style sheet.

The page's content security policy forbids `style` attributes. They become presentation attributes, and an element with
a color of the palette gets a class, so that the style sheet can replace the color in the dark theme.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

# The light theme of style.css.
COLORS = {
    "text": "#20242a",
    "muted": "#646a72",
    "line": "#e2dfd7",
    "accent": "#2a6b5b",
    "danger": "#a8322a",
    "second": "#a05a14",
    "raised": "#ffffff",
}
_COLOR_NAMES = {value: name for name, value in COLORS.items()}
_RC_PARAMS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "turnwise",  # makes ids reproducible
    "text.parse_math": False,
    "text.color": COLORS["text"],
    "font.size": 9,
    "axes.edgecolor": COLORS["muted"],
    "axes.facecolor": "none",
    "axes.labelcolor": COLORS["text"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "grid.color": COLORS["line"],
    "legend.frameon": False,
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
}
_REFERENCE = re.compile(r"(?<=url\(#)[\w.]+|(?<=^#)[mp][0-9a-f]{10}$")  # the id of a clip path or marker; not a color


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure of a report.

    Attributes:
        name: the file name without suffix.
        title: the heading.
        alt: the text alternative.
        caption: how to read the figure.
        svg: the `svg` element.
    """

    name: str
    title: str
    alt: str
    caption: str
    svg: str


def render_svg(name: str, alt: str, size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """Return an `svg` element; equal drawings give equal text.

    Args:
        name: prefix of all ids, unique on the page.
        alt: the text alternative.
        size: width and height in inches.
        draw: draws on a matplotlib `Figure`.
    """
    from matplotlib.figure import Figure  # not pyplot, which needs a display

    file = io.StringIO()
    with _matplotlib_settings():
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        draw(figure)
        figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())  # noqa: S314 - written by matplotlib above
    return _without_styles(root, name, alt)


def standalone_svg(svg: str) -> str:
    """Return the contents of an SVG file with a light background."""
    background = f'<rect width="100%" height="100%" fill="{COLORS["raised"]}"/>'
    head, end, body = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"{end}{background}{body}\n'


@contextmanager
def _matplotlib_settings() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_RC_PARAMS), warnings.catch_warnings():
        # The browser chooses the font; matplotlib only measures text with its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        warnings.filterwarnings("ignore", message="Creating legend with loc")  # its search took 1 s: a busy machine
        yield


def _without_styles(root: ElementTree.Element, name: str, alt: str) -> str:
    for parent in root.iter():
        for child in [child for child in parent if _local_name(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    referenced_ids = {
        reference
        for element in root.iter()
        for value in element.attrib.values()
        for reference in _REFERENCE.findall(value)
    }
    for element in root.iter():
        element.tag = _local_name(element.tag)
        element.attrib = _attributes(element.attrib, name, referenced_ids)
        element.text, element.tail = (element.text or "").strip() or None, None
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt, "stroke-linejoin": "round"}
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(attributes: Mapping[str, str], name: str, referenced_ids: set[str]) -> dict[str, str]:
    """Replace styles by attributes, prefix ids with the figure's name, and drop ids that nothing refers to."""
    result: dict[str, str] = {}
    for key, value in attributes.items():
        if key == "style":
            result |= _style_attributes(value)
        elif key == "id":
            result |= {key: f"{name}-{value}"} if value in referenced_ids else {}
        else:
            result[_local_name(key)] = _REFERENCE.sub(rf"{name}-\g<0>", value)
    classes = [f"{key}-{_COLOR_NAMES[result[key]]}" for key in ("fill", "stroke") if result.get(key) in _COLOR_NAMES]
    return result | ({"class": " ".join(classes)} if classes else {})


def _style_attributes(style: str) -> dict[str, str]:
    """The declarations of a style except the font family, which the page decides."""
    declarations = (declaration.partition(":") for declaration in style.split(";") if declaration.strip())
    pairs = [(key.strip(), value.strip()) for key, _, value in declarations]
    attributes = {key: value for key, value in pairs if key not in ("font", "font-family")}
    for key, value in pairs:
        if key == "font" and (size := re.search(r"[\d.]+px", value)):  # the shorthand of older matplotlib versions
            attributes["font-size"] = size[0]
    return attributes


def _local_name(name: str) -> str:
    """The name without its XML namespace."""
    return name.rpartition("}")[2]
