"""Lineage of a dataset: what its properties come from, and what uses them, as far as the caller sees both."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fastapi import Request

from api.auth.authenticator import Principal
from api.auth.rule_access import RuleAccess
from api.context import Context
from api.http.addresses import address_of
from api.query.view import View
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, Property
from catalog.model.dependencies import reads_of
from catalog.model.lineage import Origin, Origins, name_source

DEPTH_MAXIMUM = 20  # of origins of origins; the address of each leads on
OF_DATASETS = frozenset({"property", "records"})  # the kinds of origins that are no raw data


class Lineages:
    """What the properties of all datasets come from, found when it is first asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self.origins = Origins(catalog)
        self.readers: dict[str, list[Dataset]] = defaultdict(list)  # address -> the datasets whose query reads it
        for reader in catalog.datasets():
            for read in dict.fromkeys(reads_of(reader)):
                if read in self.origins.known:
                    self.readers[self.origins.known[read].address].append(reader)
        self.turn = asyncio.Lock()
        self.prepared: set[str] = set()

    async def prepare(self, dataset: Dataset) -> None:
        """Finds all that the lineage of a dataset is made of. Queries are parsed for it, which takes its time."""
        if dataset.address in self.prepared:
            return
        async with self.turn:
            if dataset.address not in self.prepared:
                await asyncio.to_thread(self.find_all, dataset)
                self.prepared.add(dataset.address)

    def find_all(self, dataset: Dataset) -> None:
        """Finds the origins of the dataset's properties and of those that use it, and all that is behind them."""
        users = self.readers.get(dataset.address, [])
        waiting = [(owner, prop) for owner in (dataset, *users) for prop in owner.properties.values()]
        seen = {(owner.address, prop.name) for owner, prop in waiting}
        while waiting:
            for origin in self.origins.of(*waiting.pop()):
                if origin.kind == "property" and (origin.place, origin.name) not in seen:
                    seen.add((origin.place, str(origin.name)))
                    source = self.origins.by_address[origin.place]
                    waiting.append((source, source.properties[str(origin.name)]))

    def users(self, dataset: Dataset) -> Iterator[tuple[str | None, Dataset, str]]:
        """(property, or None where records count, dataset that uses it, property that it is used for)."""
        for reader in self.readers.get(dataset.address, []):
            for prop in reader.properties.values():
                for origin in self.origins.of(reader, prop):
                    if origin.kind in OF_DATASETS and origin.place == dataset.address:
                        yield origin.name, reader, prop.name


class LineageOfCaller:
    """The lineage of one dataset as one principal may know it; raw data is told of to operators alone."""

    def __init__(self, context: Context, lineages: Lineages, principal: Principal, view: View) -> None:
        self.context = context
        self.lineages = lineages
        self.principal = principal
        self.view = view
        self.operator = "ops:read" in principal.scopes
        self.accesses: dict[str, RuleAccess] = {}

    def describe(self) -> dict[str, Any]:
        """The answer."""
        dataset = self.view.dataset
        uses: dict[str | None, list[dict[str, Any]]] = defaultdict(list)
        for used, reader, name in self.lineages.users(dataset):
            if self.may_see(reader, name):
                uses[used].append(self.place(reader, name))
        return {
            "dataset": dataset.address,
            **(self.describe_input(dataset) if self.operator else {}),
            "properties": [
                {
                    "name": prop.name,
                    **({"transform": self.tell(dataset, prop.transform)} if self.operator else {}),
                    "origins": self.find_origins(dataset, prop, set(), DEPTH_MAXIMUM),
                    "used_by": uses[prop.name],
                }
                for prop in self.view.shown.values()
            ],
            "used_by": uses[None],
        }

    def describe_input(self, dataset: Dataset) -> dict[str, Any]:
        """What feeds the dataset; the query only to whoever may see all that it reads."""
        known = self.lineages.origins.known
        read = [known[place] for place in reads_of(dataset) if place in known]
        query = self.tell(dataset, dataset.input.query if dataset.input else None)
        for source in read:
            query = self.tell(source, query) if self.may_see(source) else None
        return {"source": self.tell(dataset, name_source(dataset.input)), "query": query}

    def find_origins(self, dataset: Dataset, prop: Property, seen: set[Origin], depth: int) -> list[dict[str, Any]]:
        """What a property comes from; each origin with what it comes from in turn, where it comes first."""
        found = []
        for origin in self.lineages.origins.of(dataset, prop):
            if origin.kind not in OF_DATASETS:
                if self.operator and self.tell(dataset, f"{origin.place} {origin.name}"):
                    found.append({"kind": origin.kind, "place": origin.place, "name": origin.name})
                continue
            source = self.lineages.origins.by_address[origin.place]
            if not self.may_see(source, origin.name):
                continue
            behind: list[dict[str, Any]] = []
            if origin.name is not None and origin not in seen and depth:
                seen.add(origin)
                behind = self.find_origins(source, source.properties[origin.name], seen, depth - 1)
            found.append({"kind": origin.kind} | self.place(source, origin.name) | {"origins": behind})
        return found

    def place(self, dataset: Dataset, name: str | None) -> dict[str, Any]:
        """A property of a dataset, and where its own lineage is."""
        url = address_of(self.context.settings, f"{dataset.path}/lineage")
        return {"place": dataset.address, "name": name, "url": url}

    def may_see(self, dataset: Dataset, name: str | None = None) -> bool:
        """Whether the principal may know of a dataset, and of a property of it."""
        return self.access(dataset).may_see_name(dataset.schema, dataset.name, name or "")

    def tell(self, dataset: Dataset, text: str | None) -> str | None:
        """A text of a dataset's contract, unless it names what is hidden in the dataset."""
        return None if text is None or self.access(dataset).mentions_hidden(text) else text

    def access(self, dataset: Dataset) -> RuleAccess:
        """What decides on what is told of a dataset."""
        known = self.accesses.get(dataset.address)
        if known is None:
            catalog = self.context.catalog
            seen = RuleAccess(catalog, self.principal, dataset)
            hidden = [
                name for name in dataset.properties if not seen.may_see_name(dataset.schema, dataset.name, name)
            ]
            known = self.accesses[dataset.address] = RuleAccess(catalog, self.principal, dataset, hidden)
        return known


def lineages_of(request: Request) -> Lineages:
    """Those of the application that a request came to."""
    lineages: Lineages = request.app.state.lineages
    return lineages
