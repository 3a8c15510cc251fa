"""Keys, loads, quarantine, audit, health and metrics endpoints."""
