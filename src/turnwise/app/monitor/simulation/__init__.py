"""Simulated streams of posts with known surges: to try the monitor without data, and to measure it."""
