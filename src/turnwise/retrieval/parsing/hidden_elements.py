"""Which elements of a page its readers do not see or do not read: scripts, navigation, controls, hidden text."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

SKIPPED_TAGS = frozenset({
    "script", "style", "noscript", "template", "nav", "head", "svg", "math", "iframe", "object", "embed", "audio",
    "video", "canvas", "button", "select", "datalist", "input", "textarea", "frameset", "noframes", "area", "map", "rp",
})  # fmt: skip
SKIPPED_ROLES = frozenset({"navigation", "menu", "menubar", "search"})
MAX_STYLE_RULES = 5000  # of a page; more are not read
MAX_SELECTOR_CHARACTERS = 500
_HIDING_STYLE = re.compile(
    r"(?:^|[;{\s])(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)"
    r"|(?:left|top|text-indent)\s*:\s*-\d{4,}px"  # beside the page
    r"|opacity\s*:\s*0*\.?0+\s*(?:[;!}]|$)|font-size\s*:\s*0*\.?0+(?:px|pt|em|rem|%)?\s*(?:[;!}]|$))",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_RULE = re.compile(r"([^{}@;]+)\{([^{}]*)\}")


def is_skipped(node: LexborNode, hidden: frozenset[int]) -> bool:
    """True for an element that is not read, with all it contains.

    Args:
        node: an element.
        hidden: the elements that style sheets hide, as `hidden_by_style_sheets` returns them.
    """
    if node.tag in SKIPPED_TAGS or node.mem_id in hidden:
        return True
    attributes = node.attributes
    if not attributes:
        return node.tag == "dialog"
    return (
        "hidden" in attributes
        or (attributes.get("aria-hidden") or "").strip().lower() == "true"
        or (attributes.get("role") or "").strip().lower() in SKIPPED_ROLES
        or _HIDING_STYLE.search(attributes.get("style") or "") is not None
        or (node.tag == "dialog" and "open" not in attributes)
    )


def hidden_by_style_sheets(tree: LexborHTMLParser) -> frozenset[int]:
    """Identities (`mem_id`) of the elements that the page's style elements hide. Rules for media are ignored."""
    hidden: set[int] = set()
    num_rules = 0
    for element in tree.css("style"):
        css = _without_at_rules(_COMMENT.sub(" ", element.text(deep=True)))
        for selector, declarations in _RULE.findall(css):
            if not _HIDING_STYLE.search(declarations) or len(selector) > MAX_SELECTOR_CHARACTERS:
                continue
            num_rules += 1
            if num_rules > MAX_STYLE_RULES:
                return frozenset(hidden)
            hidden.update(_matches(tree, selector.strip()))
    return frozenset(hidden)


def _matches(tree: LexborHTMLParser, selector: str) -> set[int]:
    if ":" in selector or re.fullmatch(r"(?:html|body|\*)", selector):
        return set()  # states such as :hover, and pages that show themselves by a script
    try:
        return {node.mem_id for node in tree.css(selector)}
    except Exception:  # a selector that the library does not know; it raises several classes
        return set()


def _without_at_rules(css: str) -> str:
    """The style sheet without @media, @supports and other blocks, which may not apply."""
    pieces: list[str] = []
    position = 0
    while (start := css.find("@", position)) >= 0:
        pieces.append(css[position:start])
        position = _end_of_at_rule(css, start)
    return "".join((*pieces, css[position:]))


def _end_of_at_rule(css: str, start: int) -> int:
    depth = 0
    for match in re.compile("[{};]").finditer(css, start):
        if match[0] == ";" and depth == 0:
            return match.end()
        depth += {"{": 1, "}": -1, ";": 0}[match[0]]
        if match[0] == "}" and depth <= 0:
            return match.end()
    return len(css)
