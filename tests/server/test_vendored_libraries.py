"""The libraries in the web page are the published files, and have a licence."""

import hashlib
import re

import pytest

from turnwise.server.routes.pages import WEB

VENDOR = WEB / "vendor"
ROW = re.compile(r"^\| (\S+) \| \S+ \| [\d.]+ \| [^|]+ \| [\w.-]+ \| ([0-9a-f]{64}) \|$", re.MULTILINE)
TABLE = dict(ROW.findall((VENDOR / "README.md").read_text(encoding="utf-8")))
APPENDED = b"\nexport default temml;\n"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_table_names_every_file():
    files = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert {name for name in files if not name.endswith(("README.md", "LICENSE"))} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_file_has_the_hash_of_the_table_and_a_licence(name):
    assert sha256((VENDOR / name).read_bytes()) == TABLE[name]
    assert (VENDOR / name.partition("/")[0] / "LICENSE").stat().st_size > 500


def test_temml_is_the_published_file_with_one_more_line():
    content = (VENDOR / "temml" / "temml.js").read_bytes()
    assert content.endswith(APPENDED)
    assert sha256(content.removesuffix(APPENDED)) in (VENDOR / "README.md").read_text(encoding="utf-8")


def test_the_highlighted_languages_are_those_that_are_stored():
    source = (WEB / "markdown" / "highlighting.js").read_text(encoding="utf-8")
    named = re.findall(r'^  (\w+): "', source, re.MULTILINE)
    assert named == sorted(path.stem for path in (VENDOR / "highlight" / "languages").iterdir())
