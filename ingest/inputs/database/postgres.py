"""Columns of Postgres whose JSON would not be read as what they hold, as SQL that says it plainly. Pure.

Postgres writes bits as texts of ones and zeros, which a number is not: B'101' would be read as a hundred and one.
It pads texts of fixed widths, which is no part of them.
"""

from __future__ import annotations

BIT, VARBIT, BYTEA, PADDED = 1560, 1562, 17, 1042  # the OIDs of types; the last is character(n)
COUNTED = ("integer", "smallint", "bigint", "number", "numeric", "boolean")
# The number that bits mean, of any width; no bits at all are no number, and stay the empty text.
NUMBER_OF_BITS = (
    "CASE WHEN length({column}) = 0 THEN '' ELSE (SELECT trunc(sum(get_bit({column}, _decant_place)"
    " * power(2::numeric, length({column}) - 1 - _decant_place)))::text"
    " FROM generate_series(0, length({column}) - 1) AS _decant_place) END"
)
UUID_OF_BYTES = "CASE WHEN length({column}) = 16 THEN encode({column}, 'hex')::uuid::text ELSE {column}::text END"


def write_column(kind: str | None, code: int) -> str | None:
    """A column that a property of this type reads, as SQL over {column}; None where Postgres writes it rightly."""
    if code == PADDED:
        return "CAST({column} AS text)"
    if code in (BIT, VARBIT) and kind in COUNTED:
        return NUMBER_OF_BITS
    if code == BYTEA and kind == "uuid":
        return UUID_OF_BYTES
    return None
