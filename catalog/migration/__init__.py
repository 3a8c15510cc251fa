"""Contracts compared; the changes they ask of the database planned and run."""
