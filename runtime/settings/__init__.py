"""Settings: everything that DECANT_* variables decide."""
