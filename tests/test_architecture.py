"""The map holds: imports point down, and what answers `--help` never loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import turnwise
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.engine.sampling.warpers import load_warpers

PACKAGE = Path(turnwise.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_imports_point_down():
    """The contracts stand in pyproject.toml; docs/architecture.md tells them."""
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"],
        cwd=PACKAGE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("room", ["core", "text.render", "chat.service", "store", "server.app", "cli.main"])
def test_light_rooms_do_not_load_torch(room):
    code = f"import sys, turnwise.{room}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_room_says_what_it_is():
    rooms = [path for path in PACKAGE.glob("*/__init__.py") if path.parent.name not in ("cli", "box")]
    silent = [path.parent.name for path in rooms if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_every_rule_belongs_to_a_declared_parameter_with_an_off_value():
    for name in load_warpers():
        assert PARAMETER_SPECS[name].off is not None, name


def test_nothing_is_pickled():
    """torch.load and pickle can run code from a file; safetensors cannot."""
    forbidden = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not forbidden & {alias.name for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in forbidden, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}, path


def test_map_names_every_room():
    page = (PACKAGE.parent.parent / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    missing = [room for room in rooms if f"`{room}/`" not in page]
    assert not missing
