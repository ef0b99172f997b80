"""The improvement loop: from rated and corrected answers to a better model that serves."""
