"""Finds personal data in dialogues and replaces it by placeholders. Imports no torch."""
