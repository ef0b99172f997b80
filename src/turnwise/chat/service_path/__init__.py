"""The service path: how a scenario answers a message, one module per decision step, in the order of `path.STEPS`."""
