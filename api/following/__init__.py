"""Streams of server-sent events that tell consumers of new revisions."""
