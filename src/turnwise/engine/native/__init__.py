"""The compiled decoder: C++ kernels, their Python bindings and the weights laid out for them."""
