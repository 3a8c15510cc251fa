"""How records get out: the HTTP service."""
