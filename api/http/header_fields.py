"""The header fields of a message, as ASGI has them."""

from __future__ import annotations

Fields = list[tuple[bytes, bytes]]  # names in lower case, and values
