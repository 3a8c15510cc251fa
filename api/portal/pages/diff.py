"""What changed between two revisions, cell by cell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from api.http.problems import KINDS, Problem
from api.portal.asking import Asking, Reply
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.subject import find_subject
from api.portal.record_path import record_path

CHANGES_SHOWN = 20


@dataclass(frozen=True)
class Change:
    """One record that changed: before, after, and the properties that differ."""

    kind: str  # inserted, updated, deleted
    key: dict[str, Any]
    path: str | None  # the last part of the record's address
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def cells(self) -> list[tuple[str, Any, Any]]:
        """(property, before, after) of what differs; all of a record that came or went."""
        before, after = self.before or {}, self.after or {}
        names = list(self.after or self.before or {})
        return [
            (name, before.get(name), after.get(name))
            for name in names
            if self.kind != "updated" or before.get(name) != after.get(name)
        ]


async def build_diff(asking: Asking) -> Content:
    """The page; without parameters, of the newest revision against the one before."""
    subject = await find_subject(asking)
    path, page, dataset = subject.path, subject.page, subject.dataset
    given = asking.request.query_params
    newest = dataset["revision"]
    at = given.get("at") or str(newest)
    since = given.get("since") or str(max(newest - 1, 0))
    parameters = [("since", since), ("at", at), ("limit", str(CHANGES_SHOWN))]
    if cursor := given.get("cursor"):
        parameters.append(("cursor", cursor))
    reply, problem = await ask(asking, path, parameters)
    values = subject.values | {
        "since": since,
        "at": at,
        "problem": problem,
        "changes": await read_changes(asking, path, dataset, since, reply) if reply else [],
        "following": f"{page}/diff?{urlsplit(reply.value['next']).query}" if reply and reply.value["next"] else None,
    }
    return Content(
        "diff.html",
        f"Changes of {dataset['dataset']}",
        values,
        alternate=f"{path}/changes?since={since}",
        indexed=False,
        problem=problem,
    )


async def ask(asking: Asking, path: str, parameters: list[tuple[str, str]]) -> tuple[Reply | None, Problem | None]:
    """The changes; what is wrong with the two revisions, where it is that."""
    try:
        return await asking.get(f"{path}/changes", *parameters), None
    except Problem as problem:
        if KINDS[problem.code].status not in {404, 410, 422}:
            raise
        return None, problem


async def read_changes(asking: Asking, path: str, dataset: dict[str, Any], since: str, reply: Reply) -> list[Change]:
    """The changes of a page, those of updated and deleted records with what was before."""
    changes = reply.data
    keys = [record_path(dataset, change["key"]) for change in changes]
    before = await asyncio.gather(
        *(
            find_before(asking, path, key if change["change"] != "inserted" else None, since)
            for change, key in zip(changes, keys, strict=True)
        )
    )
    return [
        Change(change["change"], change["key"], key if change["record"] else None, old, change["record"])
        for change, key, old in zip(changes, keys, before, strict=True)
    ]


async def find_before(asking: Asking, path: str, key: str | None, since: str) -> dict[str, Any] | None:
    """The record as it was."""
    if key is None:
        return None
    reply = await asking.find(f"{path}/records/{key}", ("at", since))
    return reply.data if reply else None


DIFF = Page("portal diff", "/browse/{product}/v{major}/{dataset}/diff", build_diff)
