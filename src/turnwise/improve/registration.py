"""Adds a trained model to the registry, with all that is needed to train it again."""

TRAINING = "training"  # folder of the training data in that of a version
