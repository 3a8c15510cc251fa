"""Pieces of statements that several endpoints share."""
