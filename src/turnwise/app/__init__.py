"""Composition root: builds chat services, systems under test and stores from configuration, and runs evaluations."""
