"""The `input` of a dataset that an HTTP API feeds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import cast

from open_data_contract_standard.model import Server

from catalog.document.findings import Findings
from catalog.document.names import is_one_of
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.inputs.file_format import PACKED, build_file_format, check_variables
from catalog.inputs.incremental import check_secret, count_errors, read_timeout
from catalog.inputs.permits import Permits
from catalog.model.dataset import Input
from catalog.model.file_formats import format_names
from catalog.model.sources import HttpSource, Pagination
from catalog.types.json_path import parse_records_path

HTTP_KEYS = (
    "method",
    "headers",
    "params",
    "body",
    "pagination",
    "incremental",
    "retries",
    "timeout",
    "rateLimit",
)
METHODS = ("GET", "POST")
PAGED_FORMATS = ("json", "ndjson", "csv")
MOST_RETRIES = 10
# What each type of pagination may say, beside `type` and `maxPages`.
PAGE_KEYS = {
    "link": ("next", "size", "sizeParam", "until"),
    "cursor": ("cursor", "param", "size", "sizeParam", "until", "in"),
    "page": ("param", "start", "size", "sizeParam", "until", "in"),
    "offset": ("param", "start", "size", "sizeParam", "until", "in"),
}
LOCATION = re.compile(r"(https?://[^\s/?#@\\]+|\$\{[A-Za-z_]\w*\})([/?][^\s#\\]*)?", re.IGNORECASE)
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What the request itself decides, and what would change how an answer has to be read.
OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding", "range")
RATE = re.compile(r"(\d+)\s*/\s*(s|second|m|min|minute|h|hour)")
RATE_SECONDS = {"s": 1, "m": 60, "h": 3600}


def build_http_input(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input; None where it cannot be used. Variables stay as they are written until the moment of reading."""
    errors = count_errors(findings)
    location, path = str(server.location or ""), value.get("path", "")
    if not LOCATION.fullmatch(location):
        findings.error(
            trail,
            f"input.server: location {server.location!r} is not of the form https://host/folder;"
            f" credentials belong in input.headers",
        )
    if not isinstance(path, str) or not is_below(path):
        findings.error(
            trail,
            f"input.path: {path!r} must be below the server's location; query parameters belong in input.params",
        )
        path = ""
    if path and "?" in location:
        findings.error(trail, "input.path: must not be set, since the server's location contains a ?")
    name = value.get("format") or server.format or guess(path or location)
    format_ = build_file_format(value | {"format": name}, server, trail, findings)
    if "watch" in value:
        findings.error(trail, "input.watch: does not apply to an API; use a schedule")
    source = HttpSource(
        location=location,
        path=path.strip("/") if path else "",
        method=str(value.get("method", "GET")).upper(),
        headers=read_pairs(value, "headers", trail, findings),
        params=read_pairs(value, "params", trail, findings),
        body=read_body(value, trail, findings),
        retries=read_retries(value, trail, findings),
        timeout=read_timeout(value, HttpSource.timeout, trail, findings),
        pause=read_rate(value, trail, findings),
        own_encoding="encoding" in value,
    )
    check_request(source, trail, findings)
    check_variables(source.filled, permits, trail, findings)
    if value.get("pagination") is not None:
        source = replace(source, pagination=read_pagination(value["pagination"], source, trail, findings))
        if format_ is not None and format_.format not in PAGED_FORMATS:
            findings.error(trail, f"input.pagination: needs one of the formats {', '.join(PAGED_FORMATS)}")
    if format_ is None or count_errors(findings) > errors:
        return None
    return replace(common, kind="http", file_format=format_, path=source.path or None, source=source)


def check_request(source: HttpSource, trail: YamlPath, findings: Findings) -> None:
    """Errors for a method, a body or headers that no request has."""
    if source.method not in METHODS:
        findings.error(trail, f"input.method: {source.method!r} is not one of {', '.join(METHODS)}")
    if source.body is not None and source.method != "POST":
        findings.error(trail, "input.body: only applies to POST")
    for name, _ in source.headers:
        if not HEADER_NAME.fullmatch(name) or name.lower() in OWN_HEADERS:
            findings.error(trail, f"input.headers: {name!r} cannot be set")


def is_below(path: str) -> bool:
    """Whether a path joined to a location stays below it."""
    if re.search(r"[\s\\?#\x00-\x1f\x7f]|://|^//", path):
        return False
    return not {".", ".."}.intersection(path.replace("%2e", ".").replace("%2E", ".").split("/"))


def guess(path: str) -> str:
    """The format that an address ends with, what packs it aside; JSON where it says none."""
    name = PurePosixPath(path.partition("?")[0])
    if name.suffix.lower() in PACKED:
        name = name.with_suffix("")
    ending = name.suffix.lower().removeprefix(".")
    return ending if ending in format_names() else "json"


def read_pairs(value: YamlMapping, key: str, trail: YamlPath, findings: Findings) -> tuple[tuple[str, str], ...]:
    """Headers or parameters: names and texts. A parameter with a list is repeated for each item."""
    given = value.get(key)
    if given is None:
        return ()
    if not isinstance(given, dict):
        findings.error(trail, f"input.{key}: must be a mapping of names and texts")
        return ()
    pairs = []
    for name, content in given.items():
        for item in content if isinstance(content, list) and key == "params" else [content]:
            if isinstance(item, dict | list) or item is None or re.search(r"[\r\n\x00]", f"{name}{item}"):
                findings.error(trail, f"input.{key}: {name} must be one line of text")
                continue
            text = str(item).lower() if isinstance(item, bool) else str(item)
            check_secret(str(name), text, key, trail, findings)
            pairs.append((str(name), text))
    return tuple(pairs)


def read_body(value: YamlMapping, trail: YamlPath, findings: Findings) -> str | None:
    """The body that is posted, as JSON; None where there is none."""
    body = value.get("body")
    if body is None:
        return None
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        text = ""
    if not isinstance(body, dict) or not text:
        findings.error(trail, "input.body: must be a mapping that can be written as JSON")
        return None
    check_body(body, trail, findings)
    return text


def check_body(body: YamlMapping | list[YamlNode], trail: YamlPath, findings: Findings) -> None:
    """Errors for secrets in a body, however deep."""
    for key, item in body.items() if isinstance(body, dict) else enumerate(body):
        if isinstance(item, dict | list):
            check_body(item, trail, findings)
        elif isinstance(item, str):
            check_secret(str(key), item, "body", trail, findings)


def read_retries(value: YamlMapping, trail: YamlPath, findings: Findings) -> int:
    """How often a request is tried again."""
    retries = value.get("retries", HttpSource.retries)
    if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= MOST_RETRIES:
        findings.error(trail, f"input.retries: must be a number from 0 to {MOST_RETRIES}")
        return HttpSource.retries
    return retries


def read_rate(value: YamlMapping, trail: YamlPath, findings: Findings) -> float:
    """The seconds between two requests."""
    if value.get("rateLimit") is None:
        return 0.0
    match = RATE.fullmatch(str(value["rateLimit"]).strip())
    if match is None or int(match[1]) == 0:
        findings.error(trail, "input.rateLimit: must be of the form 10/second, 600/minute or 1000/hour")
        return 0.0
    return RATE_SECONDS[match[2][0]] / int(match[1])


def read_pagination(value: YamlNode, source: HttpSource, trail: YamlPath, findings: Findings) -> Pagination | None:
    """How pages follow one another; None where that is not said in a way that can be used."""
    errors = count_errors(findings)
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not is_one_of(kind, PAGE_KEYS):
        findings.error(trail, f"input.pagination.type: must be one of {', '.join(PAGE_KEYS)}")
        return None
    allowed = ("type", *PAGE_KEYS[kind], "maxPages")
    for key in value:
        if key not in allowed:
            findings.error(trail, f"input.pagination.{key}: unknown for {kind}; known are {', '.join(allowed)}")
    param = value.get("param", "" if kind == "link" else kind)
    size, size_param = value.get("size"), value.get("sizeParam")
    numbers = {"size": (size, 1), "start": (value.get("start"), 0), "maxPages": (value.get("maxPages"), 1)}
    for key, (number, least) in numbers.items():
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < least):
            findings.error(trail, f"input.pagination.{key}: must be an integer of at least {least}")
    if not isinstance(param, str) or not isinstance(size_param or "", str):
        findings.error(trail, "input.pagination: param and sizeParam must be names")
    if size_param and not size:
        findings.error(trail, "input.pagination.size: must be set with sizeParam")
    check_end(value, trail, findings)
    if value.get("in", "query") not in {"query", "body"} or (value.get("in") == "body" and source.method != "POST"):
        findings.error(trail, "input.pagination.in: must be query, or body with POST")
    path = value.get("cursor") if kind == "cursor" else value.get("next")
    if kind == "cursor" and path is None:
        findings.error(trail, "input.pagination.cursor: must be the path of the next cursor, such as $.meta.next")
    if count_errors(findings) > errors:
        return None
    # Their kinds are looked at above.
    return Pagination(
        type=kind,
        param=cast(str, param),
        size_param=cast(str, size_param or ""),
        size=cast(int | None, size),
        start=cast(int, value.get("start", 1 if kind == "page" else 0)),
        path=read_keys(path, trail, findings) if path is not None else (),
        in_body=value.get("in") == "body",
        until_short=value.get("until") == "short",
        until_missing=value.get("until") == "missing",
        max_pages=cast(int, value.get("maxPages", Pagination.max_pages)),
    )


def check_end(value: YamlMapping, trail: YamlPath, findings: Findings) -> None:
    """Errors for an end of the pages that is none, or that this type does not have."""
    ends = ("empty", "short", "missing") if value["type"] in {"page", "offset"} else ("missing",)
    until = value.get("until", ends[0])
    if until not in ends:
        findings.error(trail, f"input.pagination.until: must be {' or '.join(ends)} for {value['type']}")
    elif until == "short" and not value.get("size"):
        findings.error(trail, "input.pagination.until: short needs size")


def read_keys(path: YamlNode, trail: YamlPath, findings: Findings) -> tuple[str, ...]:
    """The keys that a JSON path leads along."""
    try:
        found = parse_records_path(str(path))
    except ValueError:
        found = None
    if found is None or found.items or not found.keys:
        findings.error(trail, f"input.pagination: {path!r} is not a path to one value such as $.meta.next")
        return ()
    return found.keys
