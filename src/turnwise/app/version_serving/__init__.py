"""Serves versions of a model: loads and unloads them as the registry says, and ends bad canaries."""
