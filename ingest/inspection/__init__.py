"""Status, history, lineage, statistics."""
