"""One record: its values, related records, earlier versions, and for operators where it came from."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.subject import find_subject
from api.query.record_key import read_key_part

REVISIONS_LOOKED_AT = 8
MISSING = object()


@dataclass(frozen=True)
class Version:
    """The record in an older revision: None where it was not there, else the properties that were different."""

    revision: int
    published_at: str
    different: dict[str, Any] | None


async def build_record(asking: Asking) -> Content:
    """The page, of the newest revision, or of the one that `at` names."""
    subject = await find_subject(asking)
    path, dataset = subject.path, subject.dataset
    key = read_key_part(asking.request.scope["raw_path"])
    at = asking.request.query_params.get("at") or str(dataset["revision"])
    query = f"at={quote(at, safe='')}" + (f"&expand={','.join(dataset['expand'])}" if dataset["expand"] else "")
    reply = await asking.get_raw(f"{path}/records/{key}", query)
    record = dict(reply.data)
    related = record.pop("expanded", {})
    is_operator = "ops:read" in asking.principal.scopes
    versions, provenance = await asyncio.gather(
        find_versions(asking, path, key, record, reply.revision or 0),
        asking.find(f"{path}/records/{key}/provenance") if is_operator else no_answer(),
    )
    values = subject.values | {
        "key": key,
        "record": record,
        "related": {name: found for name, found in related.items() if found},
        "revision": reply.revision,
        "versions": versions,
        "provenance": json.dumps(provenance.data, indent=2, ensure_ascii=False) if provenance else None,
    }
    title = f"{', '.join(str(record.get(name)) for name in dataset['key'])} – {dataset['dataset']}"
    return Content("record.html", title, values, alternate=f"{path}/records/{key}", indexed=False)


async def no_answer() -> None:
    """Of what is not asked."""


async def find_versions(asking: Asking, path: str, key: str, record: dict[str, Any], revision: int) -> list[Version]:
    """The record in the revisions before, newest first, wherever it was different from the one after."""
    reply = await asking.get(f"{path}/revisions", ("before", str(revision)), ("limit", str(REVISIONS_LOOKED_AT)))
    older = reply.data
    found = await asyncio.gather(
        *(asking.find(f"{path}/records/{key}", ("at", str(each["revision"]))) for each in older)
    )
    versions = []
    newer: dict[str, Any] | None = record
    for each, answer in zip(older, found, strict=True):
        values = answer.data if answer else None
        if values != newer:
            different = None
            if values is not None:
                beside = newer or {}
                different = {name: value for name, value in values.items() if beside.get(name, MISSING) != value}
            versions.append(Version(each["revision"], each["published_at"], different))
        newer = values
    return versions


RECORD = Page("portal record", "/browse/{product}/v{major}/{dataset}/records/{key:path}", build_record)
