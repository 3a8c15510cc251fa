"""What takes long: loads killed at every step, and batches of millions. `python -m tests.endurance --help`."""
