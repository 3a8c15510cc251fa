"""HTTP alone: limits, framing, problems, negotiation, conditional requests, bodies, query strings."""
