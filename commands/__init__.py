"""The commands of the command line: each composes catalog, ingest and api, and holds no logic of its own."""
