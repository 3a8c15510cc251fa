"""One file for each page: what it asks, and what it makes of the answers."""
