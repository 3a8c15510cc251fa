"""The head of an answer: as it was given, or none at all where a field would be read as something else."""

from __future__ import annotations

import pytest

from api.wire.cycle import render_head


def test_a_head_is_its_status_and_its_fields() -> None:
    head = render_head(200, [(b"date", b"now"), (b"etag", b'"a: b"'), (b"vary", b"")])
    assert head == b'HTTP/1.1 200 OK\r\ndate: now\r\netag: "a: b"\r\nvary: \r\n\r\n'


@pytest.mark.parametrize(
    "field",
    [
        (b"location", b"/a\r\nset-cookie: b"),
        (b"location", b"/a\nb"),
        (b"location", b"/a\rb"),
        (b"location", b"/a\x00"),
        (b"location", b"/a\x7f"),
        (b"a b", b""),
        (b"a:", b"b"),
        (b"a\r\nb", b"c"),
        (b"", b"a"),
        (b"Content-Length", b"1"),  # as ASGI forbids: it would not be seen
    ],
)
def test_a_field_that_is_no_line_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="not valid"):
        render_head(200, [(b"date", b"now"), field])
