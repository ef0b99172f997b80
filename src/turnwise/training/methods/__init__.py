"""One file per method; the folder is the registry and the file name is what a recipe says."""

import sys

from turnwise.training.method import Method
from turnwise.training.plugin_registry import PluginRegistry

METHODS = PluginRegistry(sys.modules[__name__], Method)
