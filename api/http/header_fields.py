"""The header fields of a message, as ASGI has them."""

from __future__ import annotations

Field = tuple[bytes, bytes]  # a name in lower case, and a value
Fields = list[Field]
