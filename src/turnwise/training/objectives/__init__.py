"""Training objectives, one module each. The module name is the objective's name in recipes."""

import sys

from turnwise.training.objective import Objective
from turnwise.training.plugin_registry import PluginRegistry

OBJECTIVES = PluginRegistry(sys.modules[__name__], Objective)
