"""Makes a model better by an objective."""
