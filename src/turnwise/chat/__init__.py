"""One turn of talk: render, generate, remember."""
