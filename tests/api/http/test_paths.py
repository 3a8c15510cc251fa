"""Encoded paths: what is encoded is data, never a separator; whatever leads nowhere gets a problem."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab
from tests.support.sockets import get, read_answer, serving

NOTES = """
apiVersion: v3.1.0
kind: DataContract
id: notes
name: Notes
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: notes
    customProperties:
      - {property: input, value: {server: here, path: notes.csv, mode: snapshot}}
    properties:
      - {name: place, logicalType: string, primaryKey: true}
      - {name: text, logicalType: string}
roles:
  - {role: "notes:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
BASE = b"/data/notes/v1/notes"
NOWHERE = [
    b"/data%2Fnotes/v1/notes/records",
    b"/data%2fnotes/v1/notes/records/a",
    b"/data/notes%2Fv1/notes/records/a",
    b"/data/notes/v1%2Fnotes/records/a",
    b"/data/notes/v1/notes%2Frecords/a",
    b"/data/notes/v1/notes/records%2Fa",
    b"/data/notes/v1/notes%2Frecords%2Fa",
    b"%2Fdata/notes/v1/notes/records/a",
    b"/%2Fdata/notes/v1/notes/records/a",
    b"/data%252Fnotes/v1/notes/records/a",
    b"/data/notes/v1/notes%252Frecords/a",
    b"/data/notes%00/v1/notes/records",
    b"/data/notes/v1/notes/records%00",
    b"/data/notes/v1/no%C0%AFtes/records",
    b"/data%C0%AFnotes/v1/notes/records",
    b"/data/notes/v1/notes%FF/records",
    b"/data/notes/v1/%ED%A0%80/records",
    b"/data/notes/v1/../v1/notes/records",
    b"/data/notes/v1/%2E%2E/v1/notes/records",
    b"/data/./notes/v1/notes/records",
    b"//data/notes/v1/notes/records",
    b"/data//notes/v1/notes/records",
    b"/data/notes/v1/notes/records\\a",
    b"/static%2Fdocs.js",
    b"/static/..%2Fdocs.js",
    b"/static/%2e%2e/api/app.py",
    b"/docs/problems%2Fbad_request",
    b"/keys%2Fself",
    b"/operations%2Floads",
    b"/%",
    b"/%zz",
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Iterator[tuple[str, int]]:
    lab = Lab.build(tmp_path_factory.mktemp("paths"), databases.urls(databases.create()), NOTES)
    lab.migrate()
    keys = ("a", "a/b", "a%2Fb", "..", "a\u00e9", "provenance", "x/provenance")
    lines = "".join(f"{key},text of {key}\n" for key in keys)
    assert lab.ingest("notes.notes", f"place,text\n{lines}", "notes.csv").status == "published"
    with serving(lab) as address:
        yield address


def ask(address: tuple[str, int], path: bytes) -> tuple[int, str, bytes]:
    """Status, media type and body; sent as it stands, for clients tidy paths up."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(get(path))
        status, headers, body = read_answer(connection)
        return status, headers.get("content-type", ""), body


@pytest.mark.parametrize("path", NOWHERE)
def test_an_encoded_separator_leads_nowhere(address: tuple[str, int], path: bytes) -> None:
    status, media_type, body = ask(address, path)
    assert (status, media_type) in {
        (400, "application/problem+json"),
        (401, "application/problem+json"),
        (404, "application/problem+json"),
    }, body
    assert b"text of" not in body


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"a", "a"),
        (b"%61", "a"),
        (b"a%2Fb", "a/b"),
        (b"a%2fb", "a/b"),
        (b"a%252Fb", "a%2Fb"),
        (b"%2E%2E", ".."),
        (b"a%C3%A9", "a\u00e9"),
        (b"provenance", "provenance"),
        (b"x%2Fprovenance", "x/provenance"),
    ],
)
def test_a_key_may_hold_anything_that_is_encoded(address: tuple[str, int], key: bytes, text: str) -> None:
    status, _, body = ask(address, BASE + b"/records/" + key)
    assert (status, f'text of {text}"'.encode() in body) == (200, True), body


def test_names_may_be_encoded_too_and_a_key_that_is_no_text_is_refused(address: tuple[str, int]) -> None:
    assert ask(address, b"/%64ata/note%73/v%31/notes/records/a")[0] == 200
    for key in (b"%00", b"%FF", b"%C0%AF", b"%ED%A0%80"):
        assert (ask(address, BASE + b"/records/" + key)[0], key) in {(422, key), (404, key)}
