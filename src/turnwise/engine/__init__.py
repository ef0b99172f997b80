"""Turns requests into tokens, many at once. Sees ids only, never text or HTTP."""
