"""Continuous batching: admission, preemption, mixed batches and one step of the engine."""
