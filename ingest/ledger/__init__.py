"""The state of loads in Postgres: lease, queue, retries, events, audit."""
