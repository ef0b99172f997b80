"""Generates dialogues with models, scores dialogues and filters them by score."""
