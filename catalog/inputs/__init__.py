"""The `input` part of a contract, one file per kind, and what it may use of this machine."""
