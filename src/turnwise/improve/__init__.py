"""The loop: selects rated and corrected answers, trains a version, proves that it is better, and promotes it."""
