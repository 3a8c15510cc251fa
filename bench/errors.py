"""What can be wrong with a benchmark; slowness is not."""


class BenchError(Exception):
    """Nothing was measured, or something else than what was meant: the message says what to do next."""
