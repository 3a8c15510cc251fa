"""How datasets, schedules and workers stand, for the command line and the API."""
