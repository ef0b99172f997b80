"""Serving several versions of a model: routing, reference counts, outcomes, shadow traffic."""
