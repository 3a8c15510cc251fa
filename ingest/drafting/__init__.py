"""A contract drafted from a file."""
