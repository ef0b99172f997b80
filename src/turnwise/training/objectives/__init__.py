"""One file per objective; the folder is the registry and the file name is what a recipe says."""

import sys

from turnwise.training.objective import Objective
from turnwise.training.plugin_registry import PluginRegistry

OBJECTIVES = PluginRegistry(sys.modules[__name__], Objective)
