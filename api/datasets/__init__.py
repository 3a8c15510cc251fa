"""GET of a dataset: records, aggregates, changes, revisions."""
