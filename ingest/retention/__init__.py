"""Prune, erase, redact, withdraw."""
