"""Quality checks, and the one transaction that makes a revision."""
