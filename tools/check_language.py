"""Checks that names in `src/` and `benchmarks/` are words of the field, and that the glossary and the code agree.

    python tools/check_language.py

A name says what a value is: a noun for a value, a verb for a function, `is_`, `has_` or `needs_` for a boolean. A bare
participle or pronoun says none of this. The words in `BANNED` must not be the name of a variable, parameter, attribute,
function, class or module; they may be a part of one (`is_found`, `kept_rows`). Every bold term in `docs/glossary.md`
that is written as code has to occur in `src/`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME_PATTERNS = ("src/**/*.py", "benchmarks/*.py", "benchmarks/sides/*.py")  # files whose names are checked
BANNED = frozenset({
    "found", "said", "asked", "told", "kept", "whole", "place", "reading", "known", "wanted", "own", "each",
    "most", "some", "other", "given", "part",
})  # fmt: skip
BASES = {"Metric", "Objective", "Method"}  # the base class alone has this name


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module defines, without the conventional `other` of operators (`__add__`)."""
    operators = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("__")]
    operands = {arg for node in operators for arg in node.args.args if arg.arg == "other"}
    for node in ast.walk(tree):
        match node:
            case ast.arg() if node in operands:
                pass
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name


def name_errors(path: Path) -> Iterator[str]:
    """Banned names in one file."""
    where = path.relative_to(ROOT)
    if path.stem.lstrip("_") in BANNED:
        yield f"{where}: a module must not be called '{path.stem}'"
    for line, name in sorted(set(bound_names(ast.parse(path.read_text(encoding="utf-8"))))):
        if name.strip("_").lower() in BANNED:
            yield f"{where}:{line}: '{name}' does not say what it is"


def base_errors(paths: list[Path]) -> Iterator[str]:
    """Base-class names that more than one class has."""
    owners: dict[str, list[Path]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name in BASES:
                owners.setdefault(node.name, []).append(path.relative_to(ROOT))
    for name, files in owners.items():
        if len(files) > 1:
            yield f"'{name}' is the base class; {', '.join(map(str, files[1:]))}: name the class after what it is"


def glossary_errors() -> Iterator[str]:
    """Terms of the glossary that are written as code and occur nowhere."""
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    paths = [path for kind in ("*.py", "*.cpp", "*.hpp") for path in (ROOT / "src").rglob(kind)]
    words = {word for path in paths for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    for term in re.findall(r"\*\*[^*]*\*\*", glossary):
        for code in re.findall(r"`(\w+)`", term):
            if code not in words:
                yield f"docs/glossary.md: '{code}' does not occur in src/"


def main() -> None:
    """Print what is wrong; exit status 1 where there is anything."""
    paths = sorted(path for pattern in NAME_PATTERNS for path in ROOT.glob(pattern))
    errors = [error for path in paths for error in name_errors(path)]
    errors += [*base_errors(paths), *glossary_errors()]
    if errors:
        sys.exit("\n".join(errors) + f"\n{len(errors)} names; see docs/glossary.md")


if __name__ == "__main__":
    main()
