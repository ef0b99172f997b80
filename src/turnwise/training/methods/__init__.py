"""Training methods, one module each. The module name is the method's name in recipes."""

import sys

from turnwise.training.method import Method
from turnwise.training.plugin_registry import PluginRegistry

METHODS = PluginRegistry(sys.modules[__name__], Method)
