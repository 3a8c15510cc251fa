"""A dataset as one kind of caller sees it, with everything compiled that its requests need."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from api.auth.permissions import Access
from api.database.statement import Statement
from api.http.conditional import build_digest
from api.query.parameters import Validator
from catalog.model.dataset import Dataset, ForeignKey, Property, links_of
from catalog.storage.dataset_tables import CatalogTables, DatasetTables

STATEMENTS_MAXIMUM = 200  # compiled statements kept per view
QUESTIONS_MAXIMUM = 500  # parsed query strings kept per view
VIEWS_MAXIMUM = 1000


@dataclass(frozen=True)
class Related:
    """A dataset that `expand` can embed, as the caller sees it, and the foreign key that leads to it."""

    name: str
    key: ForeignKey
    view: View


class View:
    """One dataset as one kind of caller sees it."""

    def __init__(self, views: Views, tables: DatasetTables, access: Access, contract_sha256: str) -> None:
        self.views = views
        self.tables = tables
        self.dataset = tables.dataset
        self.access = access
        self.rows = access.predicate(tables.dataset.name)  # what a record must meet to be seen; None: all are
        closed = [prop for prop in tables.dataset.properties.values() if not access.shows(prop)]
        self.hidden = frozenset(prop.name for prop in closed if prop.masking == "omit")
        # What is not shown cannot be asked about either: neither filtered, sorted, grouped nor counted.
        self.closed = frozenset(prop.name for prop in closed)
        self.statements: OrderedDict[Hashable, Statement] = OrderedDict()
        self.questions: OrderedDict[Hashable, object] = OrderedDict()
        # What decides on the bytes of an answer, beside the question and the revisions. Not only on what is hidden of
        # this dataset: `expand` shows others, as the same access does.
        self.seen = (tuple(sorted(access.classifications)), access.rows)
        # What is classified may also change with another product's contract, which this one is made of.
        facts = (self.dataset.address, self.seen, contract_sha256, tuple(sorted(self.closed)))
        self.identity = repr(facts).encode() + build_digest()

    @cached_property
    def validator(self) -> Validator:
        """What reads query strings."""
        return Validator(self.dataset, self.hidden, self.closed, tuple(self.related))

    @cached_property
    def properties(self) -> tuple[str, ...]:
        """The names of the properties that the caller sees, in the contract's order."""
        return tuple(name for name in self.dataset.properties if name not in self.hidden)

    @cached_property
    def shown(self) -> Mapping[str, Property]:
        """These properties as they are shown: those that are masked always as null."""
        closed = self.closed
        known = self.dataset.properties
        return {
            name: replace(known[name], masked=True) if name in closed else known[name] for name in self.properties
        }

    @property
    def row_filtered(self) -> bool:
        """Whether only some of the dataset's records are seen: then nothing that counts all of them is."""
        return self.rows is not None

    @cached_property
    def related(self) -> Mapping[str, Related]:
        """What `expand` can embed: by the property that refers to it, or by the dataset where several do."""
        found: dict[str, Related] = {}
        for name, key in links_of(self.dataset).items():
            parent = self.views.sibling(self, key.dataset)
            if parent is None or self.closed.intersection(key.properties) or parent.closed.intersection(key.targets):
                continue
            found[name] = Related(name, key, parent)
        return found

    def statement(self, shape: Hashable, compile_statement: Callable[[], Statement]) -> Statement:
        """The statement of a shape, compiled on its first use. Strangers choose shapes: their number is bounded."""
        statement = self.statements.get(shape)
        if statement is None:
            statement = self.statements[shape] = compile_statement()
            if len(self.statements) > STATEMENTS_MAXIMUM:
                self.statements.popitem(last=False)
        return statement


class Views:
    """The views of all datasets; callers who see the same share them."""

    def __init__(self, tables: CatalogTables, contracts: Mapping[str, str], secret: bytes, url_limit: int) -> None:
        self.tables = tables
        self.secret = secret  # seals cursors
        self.url_limit = url_limit  # of an address, in bytes
        self.contracts = contracts  # schema -> SHA-256 of its contract
        self.made: OrderedDict[tuple[str, str, Access], View] = OrderedDict()

    def of(self, dataset: Dataset, access: Access) -> View:
        """The dataset as callers with this access see it."""
        key = (dataset.schema, dataset.name, access)
        view = self.made.get(key)
        if view is None:
            view = self.made[key] = View(self, self.tables.of(dataset), access, self.contracts[dataset.schema])
            if len(self.made) > VIEWS_MAXIMUM:
                self.made.popitem(last=False)
        return view

    def sibling(self, view: View, name: str) -> View | None:
        """Another dataset of a view's product, as the same callers see it; None where there is none."""
        tables = self.tables.by_dataset.get((view.dataset.schema, name))
        if tables is None or not view.access.sees(name):
            return None
        return self.of(tables.dataset, view.access)
