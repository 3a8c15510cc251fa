"""One property of a dataset: its distribution, its rules, and how its checks went."""

from __future__ import annotations

import asyncio
from typing import Any

from api.http.paths import SLASH
from api.http.problems import Problem
from api.portal.asking import Asking, Reply
from api.portal.charts.drawing import draw_chart
from api.portal.charts.specification import chart_of_profile
from api.portal.content import Content
from api.portal.figures import figures_of
from api.portal.page import Page
from api.portal.pages.catalogue import product_page
from api.portal.pages.dataset import PATH, find_whole
from api.portal.pages.rules import checks_by_property, property_documents, rules_of

LOADS_SHOWN = 20


async def build_property(asking: Asking) -> Content:
    """The page; `not_found` for a property that the caller does not see."""
    parts = asking.request.path_params
    path = PATH.format(**parts)
    dataset = (await asking.get(path)).data
    prop = next((each for each in dataset["properties"] if each["name"] == parts["name"].replace(SLASH, "/")), None)
    if prop is None:
        raise Problem("not_found", "The dataset has no such property.")
    product_path = "/data/{product}/v{major}".format(**parts)
    product, contract, lineage, profile, quality = await asyncio.gather(
        asking.get(product_path),
        asking.get(f"{product_path}/contract"),
        asking.get(f"{path}/lineage"),
        find_whole(asking, dataset, f"{path}/profile"),
        find_whole(asking, dataset, f"{path}/quality", ("limit", str(LOADS_SHOWN))),
    )
    figures = figures_of(profile.value if profile else None).get(prop["name"])
    document = property_documents(contract.value, dataset["dataset"]).get(prop["name"], {})
    specification = chart_of_profile(prop["name"], figures) if figures else None
    values = {
        "path": path,
        "product": product.data,
        "product_page": product_page(product.data),
        "dataset": dataset,
        "prop": prop,
        "rules": list(rules_of(document)),
        "figures": figures,
        "profile": profile.value if profile else None,
        "chart": await draw_chart(specification) if specification else None,
        "lineage": next((each for each in lineage.data["properties"] if each["name"] == prop["name"]), None),
        "history": history_of(prop["name"], dataset, quality),
    }
    title = f"{prop['name']} – {dataset['dataset']}"
    return Content("property.html", title, values, prop["description"] or "", alternate=path)


def history_of(name: str, dataset: dict[str, Any], quality: Reply | None) -> list[dict[str, Any]]:
    """The checks of a property, newest load first: each with its load."""
    names = [prop["name"] for prop in dataset["properties"]]
    return [
        {"load": load, "check": check}
        for load in (quality.data if quality else [])
        for check in checks_by_property(load["rules"], names).get(name, [])
    ]


PROPERTY = Page("portal property", "/browse/{product}/v{major}/{dataset}/properties/{name:path}", build_property)
