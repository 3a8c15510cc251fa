"""The query string of the catalogue, the products and datasets that it leaves, and how many of a kind those are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastapi import Request

from api.auth.permissions import SERVED, Access
from api.http.problems import Problem, parameter_problem
from api.metadata.search_index import RUN, Found, SearchIndex, tags_of
from api.query.parameters import Draft, ListReader, Reader, read_draft
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, Product
from catalog.types.filter_operators import PATTERN_MAXIMUM_CHARACTERS

WORDS_MAXIMUM = 8
VALUES_MAXIMUM = 200
FACETS = ("product", "tag", "status", "fresh")
FRESH = {"true": True, "false": False}


@dataclass(frozen=True)
class CatalogQuery:
    """What is asked of the catalogue: words, and by facet the values of which a dataset must have one."""

    text: str | None
    chosen: Mapping[str, frozenset[Any]]


@dataclass(frozen=True)
class Listed:
    """A dataset that the caller sees, or a product of which it sees none, with what decides whether it is listed."""

    product: Product
    access: Access
    dataset: Dataset | None
    values: Mapping[str, frozenset[Any]]  # by facet
    found: Found | None = None  # where words were searched for

    def fits(self, chosen: Mapping[str, frozenset[Any]], but: str | None = None) -> bool:
        """Whether it has one of the values that are chosen of each facet, `but` one of them."""
        return all(facet == but or not values.isdisjoint(self.values[facet]) for facet, values in chosen.items())


class CatalogSearch:
    """The words of the catalogue, indexed when they are first searched."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    async def prepare(self) -> None:
        """Makes the index beside the event loop, where it is not made yet: of a large catalogue it takes its time."""
        if "index" not in vars(self):
            await asyncio.to_thread(lambda: self.index)

    @cached_property
    def index(self) -> SearchIndex:
        """Where each word stands, for all callers."""
        return SearchIndex(self.catalog)


def parse_catalog_query(query_string: bytes) -> CatalogQuery:
    """The query that a raw query string asks for; Problem for the first parameter that is wrong."""
    readers: dict[str, Reader] = {"q": read_words, **{facet: ListReader(read_values) for facet in FACETS}}
    draft = read_draft(query_string, readers)
    return CatalogQuery(draft.facts.pop("q", None), draft.facts)


def read_words(name: str, value: str, draft: Draft) -> None:
    """The words to search for."""
    if len(value) > PATTERN_MAXIMUM_CHARACTERS or len(RUN.findall(value)) > WORDS_MAXIMUM:
        hint = f"A search has at most {WORDS_MAXIMUM} words and {PATTERN_MAXIMUM_CHARACTERS} characters."
        raise Problem("query_too_complex", hint)
    if not RUN.search(value):
        raise parameter_problem("invalid_value", name, "holds no word")
    draft.facts[name] = value


def read_values(name: str, members: list[str], draft: Draft) -> None:
    """The values of a facet, of which one is enough."""
    if len(members) > VALUES_MAXIMUM:
        raise Problem("query_too_complex", f"{name} takes at most {VALUES_MAXIMUM} values.")
    known: dict[str, tuple[str, ...]] = {"status": SERVED, "fresh": tuple(FRESH)}
    for member in members:
        if member not in known.get(name, (member,)) or not member:
            raise parameter_problem("invalid_value", name, f"{member!r} is no value of it", known.get(name, ()))
    draft.facts[name] = frozenset(FRESH[member] if name == "fresh" else member for member in members)


def list_candidates(
    search: CatalogSearch,
    query: CatalogQuery,
    products: Iterable[tuple[Product, Access]],
    fresh_of: Callable[[Product, Dataset, Access], bool | None],
) -> list[Listed]:
    """What holds all words that are searched for, of what the caller sees; the best first, whatever is chosen."""
    seen = list(products)
    found: dict[tuple[str, str | None], Found] | None = None
    if query.text is not None:
        found = search.index.search(query.text, {product.schema: access for product, access in seen})
    listed = []
    for product, access in seen:
        tags = frozenset(tags_of(product.document))
        parts = {part.get("name"): frozenset(tags_of(part)) for part in product.document.get("schema") or []}
        facts = {"product": frozenset({product.id}), "status": frozenset({product.status})}
        datasets: list[Dataset | None] = [each for each in product.datasets.values() if access.sees(each.name)]
        for dataset in datasets or [None]:
            name = dataset.name if dataset else None
            if found is not None and (product.schema, name) not in found:
                continue
            fresh = frozenset({fresh_of(product, dataset, access)}) if dataset else frozenset()
            values = facts | {"tag": tags | parts.get(name, frozenset()), "fresh": fresh}
            listed.append(Listed(product, access, dataset, values, found[product.schema, name] if found else None))
    return rank_candidates(listed)


def rank_candidates(listed: Sequence[Listed]) -> list[Listed]:
    """The same, the best first; products stay whole, and what is as good stays in the catalogue's order."""
    best: dict[str, tuple[int, ...]] = {}
    for each in listed:
        rank = each.found.rank if each.found else ()
        best[each.product.schema] = min(best.get(each.product.schema, rank), rank)
    places = {schema: place for place, schema in enumerate(dict.fromkeys(each.product.schema for each in listed))}

    def order(each: Listed) -> tuple[Any, ...]:
        schema = each.product.schema
        return best[schema], places[schema], each.found.rank if each.found else ()

    return sorted(listed, key=order)


def count_facets(candidates: Sequence[Listed], query: CatalogQuery) -> dict[str, list[dict[str, Any]]]:
    """How many datasets there are with each value of a facet, whatever is chosen of that facet itself."""
    facets = {}
    for facet in FACETS:
        counts = Counter(
            value
            for each in candidates
            if each.dataset is not None and each.fits(query.chosen, facet)
            for value in each.values[facet]
            if value is not None
        )
        ordered = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
        facets[facet] = [{"value": value, "count": count} for value, count in ordered]
    return facets


def describe_matched(found: Found) -> list[dict[str, Any]]:
    """Where the words stand."""
    return [{"in": place, "property": name} for place, name in found.matched]


def search_of(request: Request) -> CatalogSearch:
    """That of the application that a request came to."""
    search: CatalogSearch = request.app.state.catalog_search
    return search
