"""What keeps texts of people, one module each: exports and erases them (`core.data_subjects.Eraser`)."""

from turnwise.core.data_subjects import Eraser
from turnwise.core.plugins import PluginGroup

ERASERS: PluginGroup[Eraser] = PluginGroup(
    "eraser", "erasers", (__name__, __path__), requires=("ORDER", "export", "erase")
)
