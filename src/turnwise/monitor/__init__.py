"""Follows a stream of short texts: collapses near copies, counts topics in windows and detects surges."""
