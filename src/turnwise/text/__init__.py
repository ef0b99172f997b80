"""Turns messages into ids (and a loss mask), and ids back into text. The only place that renders a chat template."""
