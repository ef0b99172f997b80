"""One module per URL or group of URLs; each has a function `router(...)` that takes what its routes need."""
