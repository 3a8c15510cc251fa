"""The raw query string of a request: its parameters, and the members of those that are lists. Pure.

Separators count before anything is percent-decoded: a comma that is encoded belongs to its member.
A plus sign is a space, as HTML forms send it; an encoded one (`%2B`) is itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

from fastapi import Request

from api.http.problems import Problem, parameter_problem


def split_query(query_string: bytes) -> list[tuple[str, str]]:
    """(name, value) of each parameter, from the raw bytes; `invalid_text` unless they are UTF-8 without NUL."""
    return [(name, decode_part(raw)) for name, raw in split_parameters(query_string)]


def split_parameters(query_string: bytes) -> list[tuple[str, bytes]]:
    """(name, raw value) of each parameter: the value is still percent-encoded."""
    pairs = []
    for part in query_string.split(b"&") if query_string else ():
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((decode_part(name), value))
    return pairs


def split_list(raw: bytes) -> list[str]:
    """The members of a list."""
    return [decode_part(member) for member in raw.split(b",")]


def split_names(members: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names in a list of names.

    Many clients encode every comma. Where no name holds one, an encoded comma can only separate.
    """
    if any("," in name for name in known):
        return list(members)
    return [name for member in members for name in member.split(",")]


def decode_part(part: bytes) -> str:
    """One name or value, percent-decoded."""
    if b"+" in part:
        part = part.replace(b"+", b" ")
    try:
        text = (unquote_to_bytes(part) if b"%" in part else part).decode()
    except UnicodeDecodeError:
        raise Problem("invalid_text", "The query string is not UTF-8.") from None
    if "\0" in text:
        raise Problem("invalid_text", "The query string contains a NUL character.")
    return text


def read_count(request: Request, name: str, default: int, most: int, code: str) -> int:
    """An integer from the query; the smallest `limit` is 1."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 11 and (name != "limit" or int(text))):
        raise parameter_problem(code, name, "must be an integer, at least 1 for limit")
    if int(text) > most:
        raise parameter_problem(code, name, f"must be at most {most}")
    return int(text)


def read_number(request: Request, name: str, code: str) -> int | None:
    """A number of the ledger from the query, None where there is none."""
    return read_count(request, name, 0, 2**63 - 1, code) if name in request.query_params else None
