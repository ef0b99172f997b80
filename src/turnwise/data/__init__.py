"""Turns any source into clean conversations, and conversations into batches."""
