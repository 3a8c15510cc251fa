"""Which load runs when."""
