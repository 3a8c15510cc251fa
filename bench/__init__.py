"""What measures speed: ingestion against bare COPY, serving against an idiomatic service, side by side in one run.

The machine decides the seconds; what is worth quoting are the ratios to a yardstick that ran beside them.
"""
