"""Avro with a schema registry: a value names its writer's schema by number, and becomes JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import httpx
import orjson

from ingest.errors import SourceError, SourceUnavailableError

MAGIC = b"\0"
HEAD_BYTES = 5  # a zero, and the schema's number in four bytes
ASK_SECONDS = 8.0
UNKNOWN = {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY}


@cache
def keep_schemas(registry: str) -> dict[int, Any]:
    """The schemas of a registry that are known, by number: none of them ever changes."""
    return {}


def make_decoder(registry: str) -> Callable[[bytes], bytes]:
    """What makes JSON of a batch's values by a registry's schemas; SourceError where the library is not installed.

    A value that is no Avro becomes a JSON text of its bytes in base64, which no record is: it is rejected alone.
    A number that the registry does not know is asked for once: the next batch asks again.
    """
    try:
        import fastavro
    except ImportError:
        raise SourceError("Avro needs a library that is not installed: pip install 'decant-data[avro]'.") from None
    schemas, unknown = keep_schemas(registry), set[int]()

    def decode(value: bytes) -> bytes:
        if not value.startswith(MAGIC) or len(value) < HEAD_BYTES:
            return show_bytes(value)
        number = int.from_bytes(value[1:HEAD_BYTES], "big")
        if number not in schemas and number not in unknown:
            if (fetched := fetch_schema(registry, number, fastavro.parse_schema)) is None:
                unknown.add(number)
            else:
                schemas[number] = fetched
        if number in unknown:
            return show_bytes(value)
        try:
            body = io.BytesIO(value[HEAD_BYTES:])
            found = fastavro.schemaless_reader(body, schemas[number], None)
            return show_bytes(value) if body.read(1) else dump(found)
        except (ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError, RecursionError):
            return show_bytes(value)

    return decode


def fetch_schema(registry: str, number: int, parse: Callable[[Any], Any]) -> Any:
    """A schema by its number; None where the registry has none, or one that is not Avro: the number is chosen by
    whoever writes the message. SourceError where the registry refuses or does not answer.
    """
    address = f"{registry.rstrip('/')}/schemas/ids/{number}"
    try:
        answer = httpx.get(address, timeout=ASK_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceUnavailableError(f"The schema registry does not answer: {type(error).__name__}.") from None
    if answer.status_code in UNKNOWN:
        return None
    if answer.is_server_error:
        raise SourceUnavailableError(f"The schema registry answers {answer.status_code}.")
    if answer.is_error:
        raise SourceError(f"The schema registry answers {answer.status_code}.")
    try:
        text = answer.json()["schema"]
    except (ValueError, KeyError, TypeError):
        raise SourceError("The schema registry answers with something else than a schema.") from None
    try:
        return parse(json.loads(text))
    except Exception:  # a schema of JSON or Protobuf, or no schema; the library has errors of many kinds
        return None


def dump(found: object) -> bytes:
    """A decoded value as JSON; decimals as texts, so that they lose no digit, and bytes in base64."""
    text = orjson.dumps(found, default=write_other, option=orjson.OPT_NON_STR_KEYS)
    if b"null" not in text:
        return text
    # A float that is no number would be a null there. Here it is NaN or Infinity, which is no JSON, and rejected.
    return json.dumps(found, default=write_other, ensure_ascii=False).encode()


def write_other(value: object) -> object:
    """What JSON has no form for, as text."""
    match value:
        case Decimal():
            return f"{value:f}"
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(type(value).__name__)


def show_bytes(value: bytes) -> bytes:
    """Bytes as a JSON text in base64."""
    return orjson.dumps(base64.b64encode(value).decode())
