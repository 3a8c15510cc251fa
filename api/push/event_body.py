"""The body of a push -> raw records with their identities. Pure.

A body is JSON (one object, or an array of them), NDJSON, or CloudEvents 1.0 in any of their three modes. Either every
record of it can be taken or none is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from api.http.json_text import JsonText, one_line, refuse_record
from api.http.media_types import CLOUD_EVENT, CLOUD_EVENTS, JSON, MEDIA_TYPES, NDJSON, unsupported
from api.http.problems import Problem
from runtime.json_types import Json

RECORDS_LIMIT = 10_000  # in one body
SIGNS_LIMIT = 1_000_000  # commas and opening brackets in one body: each may cost an object, of many times its bytes
IDENTITY_LIMIT_BYTES = 1000  # of a source, of an id: an index holds both
HEADER_PREFIX = "ce-"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class PushedRecord:
    """One raw record, the JSON text that came; with the identity that its sender gave it, or none."""

    payload: str
    source: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class PushMediaType:
    """What the headers say of a body."""

    media_type: str
    attributes: Mapping[str, str]  # of a CloudEvent in binary mode; else empty


def read_media_type(content_type: str, headers: Sequence[tuple[str, str]]) -> PushMediaType:
    """How a body is to be read; `unsupported_media_type` for what is not taken here."""
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    charset = re.search(r'(?i)charset\s*=\s*"?([^\s";]+)', parameters)
    if media_type not in MEDIA_TYPES or (charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}):
        raise unsupported(f"{content_type or 'a body without Content-Type'} is not supported here")
    attributes = {
        name.lower().removeprefix(HEADER_PREFIX): decode_header(name, value)
        for name, value in headers
        if name.lower().startswith(HEADER_PREFIX)
    }
    if not attributes or media_type in {CLOUD_EVENT, CLOUD_EVENTS}:
        return PushMediaType(media_type, {})
    if media_type != JSON:
        raise unsupported(f"a CloudEvent in binary mode needs a body of {JSON}")
    return PushMediaType(media_type, attributes)


def decode_header(name: str, value: str) -> str:
    """A CloudEvent's attribute as a header holds it: UTF-8, percent-encoded."""
    try:
        text = unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Problem("invalid_text", f"The header {name} is not UTF-8.") from None
    if "\0" in text:
        raise Problem("invalid_text", f"The header {name} contains a NUL character.")
    return text


def parse_records(media_type: PushMediaType, body: bytes) -> tuple[PushedRecord, ...]:
    """The records of a body in their order; a problem that says which one cannot be taken, and why."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem("invalid_text", f"The body is not UTF-8 (byte {error.start + 1}).") from None
    count_signs(text, ",[{\n" if media_type.media_type in NDJSON else ",[{")
    records: list[PushedRecord] = []
    for record in read_records(media_type, text):
        if len(records) == RECORDS_LIMIT:
            raise Problem("body_too_large", f"The body holds more than {RECORDS_LIMIT:,} records.")
        records.append(record)
    # An empty batch is a good one to CloudEvents; else somebody forgot something.
    if not records and media_type.media_type != CLOUD_EVENTS:
        raise Problem("invalid_event", "The body has no record.")
    return tuple(records)


def count_signs(text: str, signs: str = ",[{") -> None:
    """`body_too_large` for a text of very many tiny values, before any of them is made."""
    if sum(map(text.count, signs)) > SIGNS_LIMIT:
        raise Problem("body_too_large", f"The body holds more than {SIGNS_LIMIT:,} values: send it in parts.")


def read_records(media_type: PushMediaType, text: str) -> Iterator[PushedRecord]:
    """The records, one by one."""
    json_text = JsonText(text)
    if media_type.media_type in NDJSON:
        yield from read_lines(text)
    elif media_type.attributes:
        source, event_id = identify(media_type.attributes, "")
        yield PushedRecord(read_data(json_text, ""), source, event_id)
    elif media_type.media_type == CLOUD_EVENT:
        value, raw = json_text.read_whole()
        yield open_envelope(value, raw, "")
    elif media_type.media_type == CLOUD_EVENTS:
        if not begins(text, "["):
            json_text.read_whole()
            raise refuse_record("invalid_event", "a batch of CloudEvents must be a JSON array", "")
        for value, raw, pointer in json_text.read_items():
            yield open_envelope(value, raw, pointer)
    elif begins(text, "["):
        for value, raw, pointer in json_text.read_items():
            yield PushedRecord(take_object(value, raw, pointer))
    elif text.strip(" \t\r\n"):
        yield PushedRecord(read_data(json_text, ""))


def begins(text: str, sign: str) -> bool:
    """Whether a sign is the first of a text."""
    return text.lstrip(" \t\r\n").startswith(sign)


def read_lines(text: str) -> Iterator[PushedRecord]:
    """The records of NDJSON; blank lines are none."""
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(" \t\r"):
            yield PushedRecord(read_data(JsonText(line, f"/{count}", f"line {number}"), f"/{count}"))
            count += 1


def read_data(text: JsonText, pointer: str) -> str:
    """The one object of a text."""
    value, raw = text.read_whole()
    return take_object(value, raw, pointer, text.location)


def take_object(value: Json, raw: str, pointer: str, location: str = "") -> str:
    """The raw text of an object, on one line."""
    if not isinstance(value, dict):
        message = "a record must be a JSON object"
        raise refuse_record("invalid_event", f"{location}: {message}" if location else message, pointer)
    return one_line(raw)


def open_envelope(value: Json, raw: str, pointer: str) -> PushedRecord:
    """The record in a CloudEvent's JSON."""
    take_object(value, raw, pointer)
    members = JsonText(raw, pointer).read_members()
    source, event_id = identify({name: member[0] for name, member in members.items()}, pointer)
    if "data_base64" in members:
        if "data" in members:
            raise refuse_record("invalid_event", "has both data and data_base64", pointer)
        return PushedRecord(decode_data(members["data_base64"][0], pointer), source, event_id)
    if "data" not in members:
        raise refuse_record("invalid_event", "has no data", pointer)
    data, raw_data = members["data"]
    if not isinstance(data, dict):
        raise refuse_record("invalid_event", "its data must be a JSON object", f"{pointer}/data")
    return PushedRecord(one_line(raw_data), source, event_id)


def decode_data(encoded: Json, pointer: str) -> str:
    """The record in a CloudEvent's `data_base64`."""
    pointer = f"{pointer}/data_base64"
    try:
        text = base64.b64decode(encoded if type(encoded) is str else "-", validate=True).decode()
    except (binascii.Error, ValueError):
        raise refuse_record("invalid_event", "is not JSON text in Base64", pointer) from None
    count_signs(text)
    return read_data(JsonText(text, pointer), pointer)


def identify(attributes: Mapping[str, Json], pointer: str) -> tuple[str, str]:
    """(source, id) of a CloudEvent; a problem where its attributes break the standard."""
    if attributes.get("specversion") != "1.0":
        raise refuse_record("invalid_event", "specversion must be 1.0", pointer)
    names = {}
    for name in ("id", "source", "type"):
        value = attributes.get(name)
        if type(value) is not str or not value:
            raise refuse_record("invalid_event", f"{name} is missing: a CloudEvent has id, source and type", pointer)
        if len(value.encode()) > IDENTITY_LIMIT_BYTES:
            message = f"{name} is longer than {IDENTITY_LIMIT_BYTES} bytes"
            raise refuse_record("invalid_event", message, pointer)
        names[name] = value
    time = attributes.get("time")
    if time is not None and not is_timestamp(time):
        raise refuse_record("invalid_event", "time must be a timestamp of RFC 3339", pointer)
    content = attributes.get("datacontenttype", JSON)
    if content is not None and not is_json(content):
        raise refuse_record("invalid_event", f"datacontenttype must be {JSON}: records are JSON objects", pointer)
    return names["source"], names["id"]


def is_timestamp(text: Json) -> bool:
    """Whether it is a text as RFC 3339 has it."""
    if not isinstance(text, str) or not TIMESTAMP.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def is_json(media_type: Json) -> bool:
    """Whether it names JSON, or something that is written as JSON."""
    name = media_type.partition(";")[0].strip().lower() if isinstance(media_type, str) else ""
    return name == JSON or name.endswith("+json")
