"""The SQL that contracts hold: what it may be made of, and what it reads."""
