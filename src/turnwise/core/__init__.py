"""Shared vocabulary of all packages: messages, generation parameters, errors, settings, ports, durable files."""
