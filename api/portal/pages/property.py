"""One property of a dataset: its distribution, how it changed over the last revisions, its rules and checks."""

from __future__ import annotations

import asyncio
from typing import Any

from api.http.paths import SLASH
from api.http.problems import Problem
from api.portal.asking import Asking, Reply
from api.portal.charts.drawing import draw_chart, is_missing
from api.portal.charts.specification import chart_of_profile
from api.portal.checks import list_checks
from api.portal.content import Content
from api.portal.drift import drift_of, figures_of_drift
from api.portal.figures import figures_of
from api.portal.page import Page
from api.portal.pages.rules import property_documents, rules_of
from api.portal.pages.subject import find_subject, find_whole

LOADS_SHOWN = 20
REVISIONS_SHOWN = 10


async def build_property(asking: Asking) -> Content:
    """The page; `not_found` for a property that the caller does not see."""
    subject = await find_subject(asking)
    dataset, name = subject.dataset, asking.request.path_params["name"].replace(SLASH, "/")
    prop = next((each for each in dataset["properties"] if each["name"] == name), None)
    if prop is None:
        raise Problem("not_found", "The dataset has no such property.")
    contract, lineage, profile, past, quality = await asyncio.gather(
        asking.get(f"{subject.product_path}/contract"),
        asking.get(f"{subject.path}/lineage"),
        find_whole(asking, subject, "profile"),
        find_whole(asking, subject, "profile/history", ("limit", str(REVISIONS_SHOWN))),
        find_whole(asking, subject, "quality", ("limit", str(LOADS_SHOWN))),
    )
    figures = figures_of(profile.value if profile else None).get(prop["name"])
    document = property_documents(contract.value, dataset["dataset"]).get(prop["name"], {})
    specification = chart_of_profile(prop["name"], figures) if figures else None
    drift = drift_of(prop["name"], past.data if past else [])
    chart = await draw_chart(specification) if specification else None
    values = subject.values | {
        "prop": prop,
        "rules": list(rules_of(document)),
        "figures": figures,
        "profile": profile.value if profile else None,
        "chart": chart,
        "drift": drift,
        "drift_figures": figures_of_drift(drift),
        "lineage": next((each for each in lineage.data["properties"] if each["name"] == prop["name"]), None),
        "history": history_of(prop["name"], dataset, quality),
    }
    title = f"{prop['name']} – {dataset['dataset']}"
    return Content(
        "property.html",
        title,
        values,
        prop["description"] or "",
        alternate=subject.path,
        is_kept=not is_missing(specification, chart),
    )


def history_of(name: str, dataset: dict[str, Any], quality: Reply | None) -> list[dict[str, Any]]:
    """The checks of a property, newest load first: each with its load."""
    names = [prop["name"] for prop in dataset["properties"]]
    return [
        {"load": load, "check": check}
        for load in (quality.data if quality else [])
        for check in list_checks(load["rules"], names)
        if check.prop == name
    ]


PROPERTY = Page("portal property", "/browse/{product}/v{major}/{dataset}/properties/{name:path}", build_property)
