"""Metrics, statistics, golden set, baselines, judges and reports; never trains."""
