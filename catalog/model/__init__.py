"""Frozen products, datasets, roles; their order, freshness and schedule."""
