"""Words of the catalogue -> where they stand: one index for all callers, asked with what a caller sees. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from api.auth.permissions import Access
from catalog.model.catalog import Catalog
from catalog.model.dataset import CLASSIFIED, Dataset, Product, Property

RUN = re.compile(r"[^\W_]+")
CASES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
EXACT, PREFIX, NAMED, DESCRIBED = range(4)  # how well a name fits what was searched for
IN_OWN_NAME, IN_OTHER_NAME, IN_TEXT = range(3)  # where a word stands: in names of properties or the product, second
Rank = tuple[int, int]  # how well a name fits; how far from the name the words stand
Place = tuple[str, str | None]  # name, tag, description or property, and which one
Accesses = Mapping[str, Access]  # schema of a product that the caller sees -> its access


@dataclass(frozen=True)
class Owner:
    """A product, or a dataset of one."""

    product: Product
    dataset: Dataset | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called."""
        found = (self.product.id, self.product.name)
        if self.dataset is not None:
            found = (self.dataset.name, self.dataset.title)
        return tuple(name for name in found if name)


@dataclass(frozen=True, slots=True)
class Field:
    """A text that is searched."""

    place: str  # name, tag, description, property
    property: str | None = None
    joined: tuple[str, ...] = ()  # of a name: its words in lower case, with blanks between them


@dataclass(frozen=True)
class Found:
    """A product or dataset in which all words stand, in itself or in the product."""

    rank: Rank
    matched: list[Place]  # each once; `product` where words stand in the dataset's product


class SearchIndex:
    """The words of all products, datasets and properties."""

    def __init__(self, catalog: Catalog) -> None:
        self.owners: list[Owner] = []
        self.parents: list[int] = []  # the number of an owner's product
        self.fields: list[Field] = []
        self.owner_of: list[int] = []  # of each field
        self.closed: dict[int, Property] = {}  # by field: the properties that may be hidden
        self.postings: dict[str, list[int]] = defaultdict(list)  # word -> numbers of fields
        for product in catalog.products.values():
            self.add_product(product)
        self.words = sorted(self.postings)

    def add_product(self, product: Product) -> None:
        """Takes a product in, with all its datasets."""
        parent = self.add_owner(Owner(product), None, product.document, product.description)
        documents = {str(part.get("name")): part for part in product.document.get("schema") or []}
        for dataset in product.datasets.values():
            document = documents.get(dataset.name, {})
            number = self.add_owner(Owner(product, dataset), parent, document, dataset.description)
            for prop in dataset.properties.values():
                begin = len(self.fields)
                self.add_field(number, Field("property", prop.name, (join_words(prop.name),)), [prop.name])
                self.add_field(number, Field("property", prop.name), [prop.description])
                if prop.classification in CLASSIFIED and prop.masking == "omit":
                    self.closed |= dict.fromkeys(range(begin, len(self.fields)), prop)

    def add_owner(self, owner: Owner, parent: int | None, document: Mapping[str, object], description: str) -> int:
        """Takes in what is said of a product or a dataset as a whole; gives its number."""
        number = len(self.owners)
        self.owners.append(owner)
        self.parents.append(number if parent is None else parent)
        self.add_field(number, Field("name", joined=tuple(map(join_words, owner.names))), owner.names)
        self.add_field(number, Field("tag"), [*tags_of(document), str(document.get("domain") or "")])
        self.add_field(number, Field("description"), [description])
        return number

    def add_field(self, owner: int, searched: Field, texts: Iterable[str]) -> None:
        """Takes a text in."""
        for word in {word for text in texts for word in split_words(text)}:
            self.postings[word].append(len(self.fields))
        self.fields.append(searched)
        self.owner_of.append(owner)

    def search(self, text: str, accesses: Accesses) -> dict[tuple[str, str | None], Found]:
        """What holds all words of a text, of what is seen: by the product's schema and the dataset's name."""
        visible = [self.access_to(owner, accesses) for owner in self.owners]
        hidden = {number for number, prop in self.closed.items() if not self.shows(number, prop, visible)}
        asked = [self.find(run, hidden) for run in dict.fromkeys(RUN.findall(text))]
        searched = join_words(text)
        found: dict[tuple[str, str | None], Found] = {}
        for number, owner in enumerate(self.owners):
            if visible[number] is None:
                continue
            parent = self.parents[number]
            own = [hits.get(number, []) for hits in asked]
            above = [hits.get(parent, []) if parent != number else [] for hits in asked]
            if all(one or other for one, other in zip(own, above, strict=True)):
                name = owner.dataset.name if owner.dataset else None
                hits = sorted(set().union(*own))
                places = self.places(hits) + ([("product", None)] if any(above) else [])
                found[owner.product.schema, name] = Found(self.rank(searched, hits, own, above), places)
        return found

    def access_to(self, owner: Owner, accesses: Accesses) -> Access | None:
        """The access by which a product or a dataset is seen; None where it is not."""
        access = accesses.get(owner.product.schema)
        if access is None or (owner.dataset is not None and not access.sees(owner.dataset.name)):
            return None
        return access

    def shows(self, number: int, prop: Property, visible: list[Access | None]) -> bool:
        """Whether a field of a property that may be hidden is seen."""
        access = visible[self.owner_of[number]]
        return access is not None and access.shows(prop)

    def find(self, run: str, hidden: set[int]) -> dict[int, list[int]]:
        """The fields that hold a word, or each part of it, by their owners; without those that are hidden."""
        parts = [part.casefold() for part in CASES.split(run)]
        fields = self.starting_with(run.casefold())
        if len(parts) > 1:
            fields |= set.intersection(*(self.starting_with(part) for part in parts))
        found: dict[int, list[int]] = defaultdict(list)
        owner_of = self.owner_of
        for number in fields - hidden if hidden else fields:
            found[owner_of[number]].append(number)
        return found

    def starting_with(self, prefix: str) -> set[int]:
        """The fields that hold a word which begins like this."""
        found: set[int] = set()
        for index in range(bisect_left(self.words, prefix), len(self.words)):
            if not self.words[index].startswith(prefix):
                break
            found.update(self.postings[self.words[index]])
        return found

    def rank(self, searched: str, hits: list[int], own: list[list[int]], above: list[list[int]]) -> Rank:
        """How well a product or a dataset fits; the least is the best."""
        best = (DESCRIBED, 0)
        for hit in hits:
            for joined in self.fields[hit].joined:
                if joined.startswith(searched):
                    fit = EXACT if joined == searched else PREFIX
                    best = min(best, (fit, IN_OTHER_NAME if self.fields[hit].property else IN_OWN_NAME))
        if best[0] < NAMED:
            return best
        weights = [self.weigh(one, other) for one, other in zip(own, above, strict=True)]
        return (DESCRIBED if IN_TEXT in weights else NAMED), sum(weights)

    def weigh(self, own: list[int], above: list[int]) -> int:
        """How far from the name the best place is at which one word stands."""
        if any(self.fields[hit].place == "name" for hit in own):
            return IN_OWN_NAME
        return IN_OTHER_NAME if any(self.fields[hit].joined for hit in (*own, *above)) else IN_TEXT

    def places(self, hits: list[int]) -> list[Place]:
        """Where the words stand, in the order of the contract."""
        return list(dict.fromkeys((self.fields[hit].place, self.fields[hit].property) for hit in hits))


def join_words(text: str) -> str:
    """The parts of a text's words in lower case, with a blank between them."""
    return " ".join(part.casefold() for run in RUN.findall(text) for part in CASES.split(run))


def split_words(text: str) -> Iterator[str]:
    """The words of a text, and the parts of those that are written together."""
    for run in RUN.findall(text):
        yield run.casefold()
        parts = CASES.split(run)
        if len(parts) > 1:
            yield from (part.casefold() for part in parts)


def tags_of(document: Mapping[str, object]) -> tuple[str, ...]:
    """The tags of a product or a dataset, as its part of the contract has them."""
    tags = document.get("tags")
    return tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()
