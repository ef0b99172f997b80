"""The compiled decoder: C++ kernels, their Python bindings and the layout of weights."""
