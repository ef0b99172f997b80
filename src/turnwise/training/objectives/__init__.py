"""Training objectives, one module each. The module name is the objective's name in recipes."""

from turnwise.training.objective import Objective
from turnwise.training.plugin_registry import PluginRegistry

OBJECTIVES = PluginRegistry((__name__, __path__), Objective)
