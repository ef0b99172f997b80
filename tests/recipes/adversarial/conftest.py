"""The scripts of the adversarial experiment."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "recipes" / "adversarial"
SCRIPTS = tuple(path.stem for path in sorted(FOLDER.glob("*.py")))


@pytest.fixture(scope="module")
def scripts():
    """The scripts of the folder by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name in SCRIPTS:
            patch.delitem(sys.modules, name, raising=False)
        yield {name: importlib.import_module(name) for name in SCRIPTS}
        for name in SCRIPTS:
            sys.modules.pop(name, None)
