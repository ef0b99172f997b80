"""Annotated texts: texts with labels for sequence classification, sentences with tags for token classification."""
