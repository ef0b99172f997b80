"""One file per group of routes; each offers `router(...)`, which is given what it needs."""
