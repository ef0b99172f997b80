"""One loader for every kind of plug-in: a module in a folder, or an entry point of another installed package."""

import sys
from importlib import invalidate_caches

import pytest

from turnwise.core.plugins import InvalidPlugin, PluginGroup, UnknownPlugin


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Writes modules, and the entry points of a package that is installed for this test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(files, **points):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if points:
            info = tmp_path / "shapes_extra-1.0.dist-info"
            info.mkdir(exist_ok=True)
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shapes-extra\nVersion: 1.0\n")
            lines = [f"{name} = {value}" for name, value in points.items()]
            (info / "entry_points.txt").write_text("[turnwise.shapes]\n" + "\n".join(lines) + "\n")
        invalidate_caches()
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def shapes(install):
    """A group over a folder with two plug-ins."""
    folder = install(
        {
            "shapes/__init__.py": "",
            "shapes/circle.py": "AREA = 'πr²'",
            "shapes/square.py": "AREA = 'a²'",
            "shapes/_shared.py": "raise AssertionError('no plug-in')",
            "shapes/base.py": "raise AssertionError('no plug-in')",
        }
    )
    return lambda **more: PluginGroup(
        "shape", "shapes", ("shapes", [str(folder / "shapes")]), requires=["AREA"], exclude=["base"], **more
    )


def test_the_modules_of_the_folder_are_the_plugins(shapes):
    group = shapes()
    assert group.names() == ("circle", "square")
    assert group.load("circle").AREA == "πr²"
    assert list(group.all()) == ["circle", "square"]


def test_a_plugin_is_built_once(shapes):
    group = shapes(build=lambda name, module: [name, module.AREA])
    assert group.load("square") == ["square", "a²"]
    assert group.load("square") is group.load("square")


def test_an_unknown_name_is_an_error_that_names_the_nearest_one(shapes):
    with pytest.raises(UnknownPlugin, match="There is no shape 'cirlce'; did you mean 'circle'") as error:
        shapes(parameter="shape_name").load("cirlce")
    assert error.value.param == "shape_name"


def test_listing_names_imports_nothing(shapes):
    shapes().names()
    assert not {"shapes.circle", "shapes.square"} & sys.modules.keys()


def test_another_package_adds_a_plugin_by_an_entry_point(shapes, install):
    install({"extra_shapes.py": "AREA = 'ab'"}, rectangle="extra_shapes")
    group = shapes()
    assert group.names() == ("circle", "rectangle", "square")
    assert group.load("rectangle").AREA == "ab"


def test_a_plugin_without_its_contract_is_named_with_its_package(shapes, install):
    install({"extra_shapes.py": "VOLUME = 1"}, cube="extra_shapes")
    with pytest.raises(InvalidPlugin, match=r"shape 'cube' of the package 'shapes-extra' .* has no 'AREA'"):
        shapes().load("cube")


def test_a_plugin_that_cannot_be_imported_is_named_with_its_package(shapes, install):
    install({"extra_shapes.py": "import a_module_that_is_missing"}, cube="extra_shapes")
    with pytest.raises(InvalidPlugin, match=r"'cube' of the package 'shapes-extra' .*a_module_that_is_missing"):
        shapes().load("cube")


def test_an_entry_point_cannot_replace_a_built_in_plugin(shapes, install):
    install({"extra_shapes.py": "AREA = 0"}, circle="extra_shapes")
    with pytest.raises(InvalidPlugin, match="Two plug-ins are called shape 'circle'"):
        shapes().names()


def test_a_name_that_is_not_declared_is_rejected(shapes, install):
    install({"extra_shapes.py": "AREA = 'ab'"}, rectangle="extra_shapes")
    with pytest.raises(InvalidPlugin, match=r"shape 'rectangle' .* has no parameter: .* 'turnwise\.parameters'"):
        shapes(declared_in={"circle", "square"}).load("rectangle")
