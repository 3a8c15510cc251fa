"""One load from start to end."""
