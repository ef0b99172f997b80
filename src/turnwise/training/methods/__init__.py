"""Training methods, one module each. The module name is the method's name in recipes."""

from turnwise.training.method import Method
from turnwise.training.plugin_registry import PluginRegistry

METHODS = PluginRegistry((__name__, __path__), Method)
