"""How records get in: inputs, landing zone, cleaning, gates, publishing, quarantine."""
