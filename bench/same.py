"""Whether all services answer the same: speed means nothing otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

from bench.errors import BenchError


def require_same(
    client: httpx.Client,
    addresses: dict[str, str],
    paths: dict[str, list[str]],
    headers: dict[str, dict[str, str]],
) -> None:
    """Nothing comes back; BenchError unless every service gives the same records for the first and last path."""
    for place in (0, -1):
        answers = {
            name: read(client, url + paths[name][place], headers.get(name, {})) for name, url in addresses.items()
        }
        reference = answers["decant"]
        for name, answer in answers.items():
            if answer != reference:
                raise BenchError(
                    f"{name} does not answer what decant does at {paths[name][place]}: {differing(answer, reference)}"
                )


def read(client: httpx.Client, url: str, headers: dict[str, str]) -> Any:
    """The records of an answer, with moments as moments."""
    data = client.get(url, headers=headers).raise_for_status().json()
    if isinstance(data, dict) and "data" in data:
        data = data["data"]
    if not data:
        raise BenchError(f"{url} answers no record: nothing would be measured.")
    return [settle(record) for record in data] if isinstance(data, list) else settle(data)


def settle(record: dict[str, Any]) -> dict[str, Any]:
    """The record with each moment parsed: one service writes `Z`, another `+00:00`."""
    return {name: parse_timestamp(value) if isinstance(value, str) else value for name, value in record.items()}


def parse_timestamp(text: str) -> object:
    """The moment that a text is, or the text."""
    if len(text) >= len("2013-01-01T00:00:00Z") and text[10] == "T" and text[:4].isdigit():
        return datetime.fromisoformat(text)
    return text


def differing(answer: Any, reference: Any) -> str:
    """The first difference, in a line."""
    if isinstance(answer, list) and isinstance(reference, list):
        if len(answer) != len(reference):
            return f"{len(answer)} records instead of {len(reference)}"
        answer, reference = next(pair for pair in zip(answer, reference, strict=True) if pair[0] != pair[1])
    names = [name for name in {*answer, *reference} if answer.get(name) != reference.get(name)]
    return ", ".join(f"{name} is {answer.get(name)!r} instead of {reference.get(name)!r}" for name in sorted(names))
