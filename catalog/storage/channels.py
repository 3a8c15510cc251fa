"""The NOTIFY channels: hints that something changed, which listeners look up. A lost one costs only time."""

LOADS_CHANNEL = "decant_loads"  # the ledger has something new for the workers
REVISIONS_CHANNEL = "decant_revisions"  # a dataset has a new revision, or all have a new epoch
EVENTS_CHANNEL = "decant_events"  # a dataset has pushed records that wait
