"""The extension points of docs/architecture.md exist: paths, contracts, entry points and numbers of files."""

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import turnwise

PACKAGE = Path(turnwise.__file__).parent
PAGE = (PACKAGE.parents[1] / "docs/architecture.md").read_text(encoding="utf-8")

FILES_TO_TOUCH = {
    "a sampling warper": 2,
    "a logits processor": 2,
    "a search": 2,
    "a family of known shape": 1,
    "a tool-call format": 1,
    "a data format": 1,
    "a container": 1,
    "a document parser": 1,
    "a context policy": 1,
    "a step of the service path": 2,
    "an interaction format": 1,
    "a demonstration selection": 1,
    "an objective": 1,
    "a method": 1,
    "a metric": 1,
    "a gate rule": 1,
    "a baseline": 1,
    "a store backend": 1,
    "golden cases": 1,
    "a scenario check": 1,
    "an eraser": 1,
    "a detector of personal data": 1,
    "an HTTP field": 2,
    "a page control": 1,
    "a page": 5,
    "a bundled model": 2,
    "a model to pull": 1,
    "a CLI command": 2,
}
GROUPS = {  # the variable of the plug-in group, in the package of the plug-ins
    "a sampling warper": "WARPERS",
    "a logits processor": "PROCESSORS",
    "a search": "SEARCHES",
    "a family of known shape": "FAMILIES",
    "a tool-call format": "TOOL_CALL_FORMATS",
    "a data format": "FORMATS",
    "a container": "CONTAINERS",
    "a document parser": "DOCUMENT_PARSERS",
    "a context policy": "CONTEXT_POLICIES",
    "an interaction format": "FORMATS",
    "a demonstration selection": "SELECTIONS",
    "an objective": "OBJECTIVES",
    "a method": "METHODS",
    "a metric": "METRICS",
    "a gate rule": "GATE_RULES",
    "a baseline": "BASELINES",
    "a store backend": "STORE_BACKENDS",
    "a scenario check": "SCENARIO_CHECKS",
    "an eraser": "ERASERS",
    "a detector of personal data": "DETECTORS",
}
ONE_SET_OF = {  # a plug-in defines one of the sets
    "a data format": [{"matches", "parse"}, {"matches", "combine"}, {"sniff", "read"}],
    "a demonstration selection": [{"select"}, {"fit"}],
}
BASE_CLASSES = {
    "Objective": "training/objective.py",
    "Method": "training/method.py",
    "Metric": "evaluation/metric.py",
    "GateRule": "evaluation/gate/rule.py",
    "InteractionFormat": "chat/interaction_format.py",
}


class ExtensionPoint(NamedTuple):
    """A row of the table; `paths` are those to write, relative to the package."""

    kind: str
    paths: list[str]
    num_files: int
    contract: list[str]
    entry_points: str

    @property
    def folder(self) -> Path:
        """The folder of the plug-ins."""
        return PACKAGE / Path(self.paths[0]).parent


def parse_table() -> list[ExtensionPoint]:
    """Parse the table of extension points."""
    section = PAGE.partition("## Extension points")[2]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    return [
        ExtensionPoint(kind, in_code(write), int(files), in_code(contract), "".join(in_code(entry_points)))
        for kind, write, files, contract, entry_points in rows[2:]
    ]


def in_code(text: str) -> list[str]:
    """Return the words in code style."""
    return re.findall(r"`([^`]+)`", text)


def defined_names(path: Path) -> set[str]:
    """Return the names that the top level of a module defines or imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def class_members(path: Path, class_name: str) -> set[str]:
    """Return the names of the methods of a class and of its bases in the same module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name), None)
    if node is None:
        return set()
    names = {child.name for child in node.body if isinstance(child, ast.FunctionDef)}
    return names.union(*(class_members(path, base.id) for base in node.bases if isinstance(base, ast.Name)))


def load_group(point: ExtensionPoint):
    """Import the plug-in group of an extension point; objectives and methods wrap theirs in a registry."""
    package = ".".join(("turnwise", *point.folder.relative_to(PACKAGE).parts))
    group = getattr(import_module(package), GROUPS[point.kind])
    return getattr(group, "_group", group)


POINTS = parse_table()
PLUGIN_POINTS = [point for point in POINTS if point.kind in GROUPS]


def test_the_table_lists_every_kind_with_the_number_of_files_to_touch():
    assert {point.kind: point.num_files for point in POINTS} == FILES_TO_TOUCH


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.kind)
def test_the_number_of_files_is_the_number_of_paths(point):
    assert point.num_files == len(point.paths)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.kind)
def test_the_paths_of_an_extension_point_exist(point):
    for path in map(Path, point.paths):
        is_placeholder = path.stem.isupper()
        assert any((PACKAGE / path.parent).glob(f"*{path.suffix}")) if is_placeholder else (PACKAGE / path).is_file()


@pytest.mark.parametrize("point", PLUGIN_POINTS, ids=lambda point: point.kind)
def test_the_modules_of_the_folder_are_the_plugins_of_the_group(point):
    group = load_group(point)
    assert group.group == point.entry_points
    assert group.names()
    for name in group.names():
        assert (point.folder / f"{name}.py").is_file() or (point.folder / name / "__init__.py").is_file(), name


@pytest.mark.parametrize("point", PLUGIN_POINTS, ids=lambda point: point.kind)
def test_the_contract_names_what_the_loader_requires(point):
    assert set(load_group(point).requires) <= set(point.contract)


@pytest.mark.parametrize("point", PLUGIN_POINTS, ids=lambda point: point.kind)
def test_every_built_in_plugin_keeps_the_contract(point):
    if point.contract[0] in BASE_CLASSES:
        base, *members = point.contract
        assert set(members) <= class_members(PACKAGE / BASE_CLASSES[base], base)
        return
    for name in load_group(point).names():
        path = point.folder / f"{name}.py"
        names = defined_names(path if path.is_file() else point.folder / name / "__init__.py")
        required = set(point.contract)
        if choices := ONE_SET_OF.get(point.kind):
            required -= set().union(*choices)
            assert any(functions <= names for functions in choices), name
        assert required <= names, name


def test_every_package_of_plugins_is_in_the_table():
    declaration = re.compile(r"^[A-Z_]+(?:: PluginGroup\[.*\])? = Plugin(?:Group|Registry)\(", re.MULTILINE)
    packages = {
        path.parent for path in PACKAGE.rglob("__init__.py") if declaration.search(path.read_text(encoding="utf-8"))
    }
    assert packages == {point.folder for point in PLUGIN_POINTS}


def test_every_path_of_the_page_exists():
    words = " ".join([*in_code(PAGE), *re.findall(r"^ {4}.*$", PAGE, re.MULTILINE)])
    paths = {path for path in re.findall(r"[\w/]+(?:\.py|/)(?=$|[\s,:;()])", words) if not Path(path).stem.isupper()}
    assert len(paths) > 60
    assert not [path for path in paths if not (PACKAGE / path).exists() and not any(PACKAGE.rglob(path))]


def test_every_port_of_the_page_is_defined_where_it_says():
    section = PAGE.partition("## Ports")[2].partition("## Flows")[0]
    rows = [in_code(line) for line in section.splitlines() if line.startswith("| `")]
    assert {row[0] for row in rows} >= {
        "InferenceEngine", "ChatService", "ConversationStore", "KeyStore", "ResponseCache",
    }  # fmt: skip
    for port, module, *_ in rows:
        assert port in defined_names(PACKAGE / module)
