"""Weights and the forward pass: one generic decoder, families that map published checkpoints onto it, load and save."""
