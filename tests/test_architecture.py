"""The layers hold: imports point down, and `--help` never loads torch."""

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


LIGHT = ["core", "text.rendering.renderer", "chat.service", "store", "server.app", "cli.main"]


@pytest.mark.parametrize("package", LIGHT)
def test_light_packages_do_not_load_torch(package):
    code = f"import sys, turnwise.{package}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_package_says_what_it_is():
    packages = [path for path in PACKAGE.rglob("*/__init__.py") if path.parent.name not in ("cli", "box")]
    undocumented = [str(path.parent) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not undocumented


def test_every_rule_belongs_to_a_declared_parameter_with_an_off_value():
    for name in load_warpers():
        assert PARAMETER_SPECS[name].neutral is not None, name


@pytest.mark.costly
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


def test_the_architecture_page_names_every_package():
    page = (PACKAGE.parent.parent / "docs/architecture.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert not [package for package in packages if f"`{package}/`" not in page]
