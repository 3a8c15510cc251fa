"""Status, history, statistics."""
