"""Tables of the ledger and of datasets, channels, folders."""
