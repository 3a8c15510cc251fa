"""Catalogue, contracts, status, loads, quality, profiles, lineage, provenance."""
