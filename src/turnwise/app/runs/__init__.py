"""Trainings and evaluations that a server starts, each in a process and a folder of its own."""
