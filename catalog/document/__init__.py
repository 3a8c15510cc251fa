"""YAML with line numbers, findings, names."""
