"""Knowledge bases: opens the store, the indexes and the encoder of one, and keeps the indexes up to date."""
