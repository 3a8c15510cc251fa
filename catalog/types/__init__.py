"""Logical types, values and formats."""
