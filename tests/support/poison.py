"""What another producer may send: messages that are no records, and some that look like none and are."""

from __future__ import annotations

import gzip
import json
from typing import NamedTuple


class Poison(NamedTuple):
    """A message that must cost nobody else anything."""

    name: str
    value: bytes | None
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()


DEEP = 200
HUGE = 900_000  # bytes, below what brokers take by default
HEADERS = (
    ("control\x01\x1b[31m", b"\x01\x1b[2J\r\n"),
    ("not text", b"\xff\xfe"),
    ("twice", b"1"),
    ("twice", b"2"),
    ("", b""),
)
# Of a dataset whose key is `id`, an integer that is not negative: none of these is a record of it.
POISON = [
    Poison("nothing", None),
    Poison("empty", b""),
    Poison("blanks", b" \t\r\n "),
    Poison("no key, nothing", None, None),
    Poison("no text", b"\xff\xfe\x00\x01"),
    Poison("no text in a string", b'{"id": 1, "amount": "\xff\xfe"}'),
    Poison("no text in a name", b'{"id": 1, "\xc3": 1}'),
    Poison("half of a pair", b'{"id": "\\ud800"}'),
    Poison("a NUL byte", b'{"id": 1, "amount": "\x00"}'),
    Poison("a NUL for a key", b'{"id": "\\u0000"}'),
    Poison("a NUL behind the record", b'{"id": 1}\x00'),
    Poison("not a number", b'{"id": NaN}'),
    Poison("not a number elsewhere", b'{"id": 1, "amount": NaN}'),
    Poison("infinite", b'{"id": 1, "amount": -Infinity}'),
    Poison("a number without end", b'{"id": ' + b"9" * 5_000 + b"}"),
    Poison("a great exponent", b'{"id": 1e999999999}'),
    Poison("deep arrays", b"[" * DEEP + b"]" * DEEP),
    Poison("open arrays", b'{"id": ' + b"[" * 100_000),
    Poison("deep objects for a key", b'{"id":' * DEEP + b"1" + b"}" * DEEP),
    Poison("deep elsewhere", b'{"id": 1, "more": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    Poison("an array", b'[{"id": 1}]'),
    Poison("a text", b'"id"'),
    Poison("a null", b"null"),
    Poison("two records", b'{"id": 1}\n{"id": 2}'),
    Poison("two records in one line", b'{"id": 1}{"id": 2}'),
    Poison("half of a record", b'{"id": 1, "amount":'),
    Poison("a line feed in a string", b'{"id": "1\n2"}'),
    Poison("a byte order mark", b'\xef\xbb\xbf{"id": 1}'),
    Poison("another encoding", '{"id": 1}'.encode("utf-16")),
    Poison("packed", gzip.compress(b'{"id": 1}')),
    Poison("an archive", b"PK\x03\x04" + b"x" * 100),
    Poison("huge", b'{"id": "' + b"x" * HUGE + b'"}'),
    Poison("many members", json.dumps({f"m{n}": n for n in range(50_000)}).encode()),
    Poison("a mark of deletion", b'{"id": -1, "_deleted": true, "__deleted": "true"}'),
    Poison("a negative key", b'{"id": -1}', None, HEADERS),
    Poison("a key that is no text", b"{}", b"\xff\x00", HEADERS),
    Poison("a header with a NUL", b'{"id": -1}', None, (("nul", b"\x00"),)),
    Poison("another type", b'{"id": {"a": [1, {"b": null}]}, "amount": []}'),
]
# Records in spite of their looks: (id, message).
STRANGE = [
    (901, Poison("lines", b'\r\n{\r\n "id":\t901\n}\n', None, HEADERS)),
    (902, Poison("escaped", b'{"\\u0069d": 902}')),
    (903, Poison("a text for a number", b'{"id": "903"}')),
    (904, Poison("huge elsewhere", b'{"id": 904, "more": "' + b"x" * HUGE + b'"}')),
]
