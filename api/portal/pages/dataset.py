"""One dataset: status, properties with rules, figures and failing checks, records, revisions, downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from markupsafe import Markup

from api.portal.asking import Asking, Reply
from api.portal.charts.drawing import DRAWER
from api.portal.checks import Check, Tally, count_checks, list_checks
from api.portal.console.names import name_keys
from api.portal.console.paging import with_query
from api.portal.content import Content
from api.portal.discovery.croissant import describe
from api.portal.explorer.columns import record_columns
from api.portal.explorer.snippets import write_curl
from api.portal.figures import Figures, figures_of
from api.portal.page import Page
from api.portal.pages.catalogue import STATES, owner_of, state_of
from api.portal.pages.downloads import downloads_of, find_sizes
from api.portal.pages.rules import property_documents, rules_of
from api.portal.pages.subject import Subject, find_subject, find_whole

RECORDS_SHOWN = 10
REVISIONS_SHOWN = 6


@dataclass(frozen=True)
class PropertyRow:
    """One property, with what its contract promises, its profile says and its checks found."""

    property: dict[str, Any]
    rules: list[str]
    figures: Figures | None
    failing: list[Check]


@dataclass(frozen=True)
class Quality:
    """The checks of the load that measured any last. The page counts and lists these, and no others."""

    load: dict[str, Any]
    checks: list[Check]

    @classmethod
    def of(cls, load: dict[str, Any], names: Sequence[str]) -> Quality:
        """What a load measured; `names` are the properties of the dataset."""
        return cls(load, list_checks(load["rules"], names))

    @property
    def tally(self) -> Tally:
        """How they ended."""
        return count_checks(self.checks)


async def build_dataset(asking: Asking) -> Content:
    """The page; everything on it is of the revision that it began with, or says of which it is."""
    DRAWER.prepare()  # what most ask for next is a property
    subject = await find_subject(asking)
    path, product, dataset = subject.path, subject.product, subject.dataset
    contract, records, revisions, profile, quality, sizes = await asyncio.gather(
        asking.get(f"{subject.product_path}/contract"),
        find_records(asking, path, dataset["revision"]),
        asking.find(f"{path}/revisions", ("limit", str(REVISIONS_SHOWN))),
        find_whole(asking, subject, "profile"),
        find_whole(asking, subject, "quality", ("limit", "1")),
        find_sizes(asking, path),
    )
    names = [prop["name"] for prop in dataset["properties"]]
    measured = Quality.of(quality.data[0], names) if quality and quality.data else None
    state = state_of(dataset)
    values = subject.values | {
        "state": state,
        "state_text": STATES[state],
        "rows": property_rows(dataset, contract, profile, measured),
        "measured": measured,
        "decide_at": find_decision_page(asking, subject, measured),
        "names": await name_keys(asking) if is_told_who(dataset) else {},
        "profile": profile.value if profile else None,
        "records": records.data if records else [],
        "columns": record_columns(dataset),
        "revisions": revisions.data if revisions else [],
        "downloads": downloads_of(sizes, dataset["revision"]),
        "programs": [
            write_curl(f"{asking.origin}{path}/{asked}", is_open=dataset["open"])
            for asked in ("records?limit=1000", "export?format=csv")
        ],
        "described": describe_inline(asking, subject) if dataset["open"] else None,
        "citation": cite(asking, subject),
    }
    title = f"{dataset['dataset']} – {product['name']}"
    return Content("dataset.html", title, values, dataset["description"], alternate=path)


async def find_records(asking: Asking, path: str, revision: int) -> Reply | None:
    """The first records of the revision."""
    if not revision:
        return None
    return await asking.find(f"{path}/records", ("limit", str(RECORDS_SHOWN)), ("at", str(revision)))


def property_rows(
    dataset: dict[str, Any], contract: Reply, profile: Reply | None, quality: Quality | None
) -> list[PropertyRow]:
    """A row for each property."""
    documents = property_documents(contract.value, dataset["dataset"])
    figures = figures_of(profile.value if profile else None)
    failing = [check for check in quality.checks if not check.measured["passed"]] if quality else []
    return [
        PropertyRow(
            prop,
            list(rules_of(documents.get(prop["name"], {}))),
            figures.get(prop["name"]),
            [check for check in failing if check.prop == prop["name"]],
        )
        for prop in dataset["properties"]
    ]


def is_told_who(dataset: dict[str, Any]) -> bool:
    """Whether the caller is told who had the current records published anyway."""
    decided = (dataset.get("quality") or {}).get("published_anyway")
    return decided is not None and "by" in decided


def find_decision_page(asking: Asking, subject: Subject, quality: Quality | None) -> str | None:
    """The page where an operator sees to the last load, where it ended badly; None for everybody else."""
    last = (subject.dataset.get("quality") or {}).get("last_load")
    if "ops:read" not in asking.principal.scopes:
        return None
    if last == "withheld" and quality is not None:
        return f"/console/withheld/{quality.load['load']}"
    if last != "failed":
        return None
    product = subject.product
    place = {"product": product["product"], "major": str(product["major"]), "dataset": subject.dataset["dataset"]}
    return with_query("/console/loads", place)


def describe_inline(asking: Asking, subject: Subject) -> Markup:
    """The dataset as schema.org has it, to stand in the page; no text of it can end the element."""
    found = {"@context": "https://schema.org/", "@type": "Dataset"} | describe(asking.origin, subject)
    return Markup(orjson.dumps(found).decode().replace("<", "\\u003c"))  # noqa: S704 - without any <


def cite(asking: Asking, subject: Subject) -> str:
    """How to name what was used: owner, product, dataset, revision, day, address."""
    product, dataset = subject.product, subject.dataset
    owner = owner_of(product)
    day = (dataset["published_at"] or "")[:10]
    address = f"{asking.origin}{subject.path}/records?at={dataset['revision']}"
    name = f"{product['name']} {product['version']}: {dataset['dataset']}"
    return ". ".join(filter(None, (owner, name, f"Revision {dataset['revision']}, {day}", address)))


DATASET = Page("portal dataset", "/browse/{product}/v{major}/{dataset}", build_dataset)
