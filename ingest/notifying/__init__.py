"""Messages to people: incidents found in the ledger, told once, recalled, and told to be over."""
