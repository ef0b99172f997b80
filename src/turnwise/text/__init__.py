"""Converts messages to ids and ids back to text. The only place that renders a chat template."""
