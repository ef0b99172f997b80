"""The vocabulary every room speaks: messages, generation parameters, errors, settings, ports, safe files."""
