"""Catalogue, contracts, status, loads, quality, profiles, provenance."""
