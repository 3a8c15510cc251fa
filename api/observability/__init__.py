"""Metrics, the access log, security events, usage."""
