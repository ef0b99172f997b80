"""Pictures by matplotlib as SVG that takes its colours from the page and needs no style of its own.

A page that allows no styles but its own has no `style` attributes. So they become the attributes they stand for, and
what has a colour of the palette gets a class by it, which the page's theme overrules.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

# As in the page's style sheet, by daylight.
COLOURS = {
    "text": "#20242a",
    "muted": "#646a72",
    "line": "#e2dfd7",
    "accent": "#2a6b5b",
    "danger": "#a8322a",
    "second": "#a05a14",
    "raised": "#ffffff",
}
_NAMES = {value: name for name, value in COLOURS.items()}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "turnwise",
    "text.parse_math": False,
    "text.color": COLOURS["text"],
    "font.size": 9,
    "axes.edgecolor": COLOURS["muted"],
    "axes.facecolor": "none",
    "axes.labelcolor": COLOURS["text"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "grid.color": COLOURS["line"],
    "legend.frameon": False,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
}
_POINTER = re.compile(r"(?<=url\(#)[\w.]+|(?<=^#)[mp][0-9a-f]{10}$")  # a clip path's, or a marker's; not a colour


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as SVG: its file's name, what it is called, what it shows, how to read it."""

    name: str
    title: str
    alt: str
    caption: str
    svg: str


def render_svg(name: str, alt: str, size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """An `svg` element. The same drawing gives the same text.

    Args:
        name: of the picture, unlike any other on the page.
        alt: what it shows, for those who do not see it.
        size: in inches.
        draw: given the figure.
    """
    from matplotlib.figure import Figure  # not pyplot, which looks for a screen

    file = io.StringIO()
    with _settings():
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        draw(figure)
        figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())  # noqa: S314 - written above
    return _themed(root, name, alt)


def alone(svg: str) -> str:
    """The same as a file of its own, on a light ground."""
    ground = f'<rect width="100%" height="100%" fill="{COLOURS["raised"]}"/>'
    head, end, rest = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"{end}{ground}{rest}\n'


@contextmanager
def _settings() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # The page's reader has other fonts than the one that matplotlib measures texts with.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _themed(root: ElementTree.Element, name: str, alt: str) -> str:
    for parent in root.iter():
        for child in [each for each in parent if _plain(each.tag) in ("metadata", "style")]:
            parent.remove(child)
    pointed = {found for each in root.iter() for value in each.attrib.values() for found in _POINTER.findall(value)}
    for each in root.iter():
        each.tag = _plain(each.tag)
        each.attrib = _attributes(each.attrib, name, pointed)
        each.text, each.tail = (each.text or "").strip() or None, None
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt, "stroke-linejoin": "round"}
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(given: Mapping[str, str], name: str, pointed: set[str]) -> dict[str, str]:
    """Without styles, and with the picture's name before what its parts are called, if anything points there."""
    found: dict[str, str] = {}
    for key, value in given.items():
        if key == "style":
            found |= _styles(value)
        elif key == "id":
            found |= {key: f"{name}-{value}"} if value in pointed else {}
        else:
            found[_plain(key)] = _POINTER.sub(rf"{name}-\g<0>", value)
    classes = [f"{key}-{_NAMES[found[key]]}" for key in ("fill", "stroke") if found.get(key) in _NAMES]
    return found | ({"class": " ".join(classes)} if classes else {})


def _styles(style: str) -> dict[str, str]:
    """All but the font's name, which is the page's business."""
    pairs = [tuple(each.strip() for each in part.split(":", 1)) for part in style.split(";") if part.strip()]
    found = {key: value for key, value in pairs if key not in ("font", "font-family")}
    for key, value in pairs:
        if key == "font" and (size := re.search(r"[\d.]+px", value)):  # older matplotlib writes it so
            found["font-size"] = size[0]
    return found


def _plain(name: str) -> str:
    return name.rpartition("}")[2]
