"""Follows streams of texts: labels them, counts them by topic, and raises alerts of surges."""
