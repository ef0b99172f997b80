"""From a recipe to a model folder: planning, running, exporting."""
