"""Optimizers, learning-rate schedules, weight averaging and loss-spike detection."""
