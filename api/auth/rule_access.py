"""Access to quality rules: a caller sees a rule only if it may see all that the rule reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from api.auth.authenticator import Principal
from api.auth.permissions import Access, access_of
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, Property
from catalog.model.rule_query import find_properties, find_read_properties

# What every load measures, of a dataset's own records as a whole.
COUNTED_RULES = frozenset({"raw records", "maxRejected", "maxDeleted"})
Read = Sequence[str]  # (schema, dataset, property); no property where only records count


class RuleAccess:
    """What one principal may know of the rules of one dataset."""

    def __init__(self, catalog: Catalog, principal: Principal, dataset: Dataset, hidden: Iterable[str] = ()) -> None:
        self.catalog = catalog
        self.principal = principal
        self.dataset = dataset
        self.names = [name for name in hidden if name]
        self.gates = {gate.name: gate for gate in dataset.gates}

    def may_see_measured(self, rule: str, reads: list[Read] | None) -> bool:
        """Whether what a rule measured may be told. `reads`: what it read then, None where nobody noted it."""
        if self.mentions_hidden(rule):
            return False
        if reads is None:
            if rule not in self.gates:
                return rule in COUNTED_RULES
            try:
                reads = list(find_properties(self.catalog.readings, self.dataset, self.gates[rule]))
            except ValueError:
                return False
        return all(self.may_see(*read) for read in reads)

    def may_read_query(self, query: str, prop: str | None) -> bool:
        """Whether a rule's SQL names nothing that is hidden; what cannot be read names nothing that exists."""
        try:
            reads = find_read_properties(self.catalog.readings, self.dataset, query, prop)
        except ValueError:
            return True
        return all(self.may_see_name(*read) for read in reads)

    def mentions_hidden(self, text: str) -> bool:
        """Whether a text holds the name of a hidden property."""
        words = "|".join(map(re.escape, self.names))
        return bool(words and re.search(rf"(?<![A-Za-z0-9])({words})(?![A-Za-z0-9])", text))

    def find(self, schema: str, name: str, prop: str) -> tuple[Access, Dataset, Property | None] | None:
        """A dataset and a property as the principal sees them; None where it sees nothing of them."""
        product = self.catalog.readings.by_schema.get(schema)
        access = access_of(self.principal, product) if product else None
        if product is None or access is None or product.status == "retired" or not access.sees(name):
            return None
        dataset = product.datasets.get(name)
        if dataset is None or (prop and prop not in dataset.properties):
            return None
        return access, dataset, dataset.properties.get(prop)

    def may_see(self, schema: str, name: str, prop: str) -> bool:
        """Whether all values may be seen."""
        found = self.find(schema, name, prop)
        if found is None:
            return False
        access, _, known = found
        return access.predicate(name) is None and (known is None or access.shows(known))

    def may_see_name(self, schema: str, name: str, prop: str) -> bool:
        """Whether the name may be seen, be its values masked."""
        found = self.find(schema, name, prop)
        if found is None:
            return False
        access, _, known = found
        return known is None or access.shows(known) or known.masking != "omit"


def count_rules(access: RuleAccess, rules: list[dict[str, Any]]) -> dict[str, int]:
    """How many of the rules that the caller may see were kept, and how many not."""
    seen = [rule for rule in rules if access.may_see_measured(rule["rule"], rule["reads"])]
    severities = [rule["severity"] for rule in seen if not rule["passed"]]
    broken = severities.count("error")
    return {"kept": len(seen) - len(severities), "broken": broken, "warnings": len(severities) - broken}


def pick_rules(access: RuleAccess, rules: list[dict[str, Any]]) -> list[dict[str, object]]:
    """The measurements of one load that may be told, without what they read."""
    return [without_reads(rule) for rule in rules if access.may_see_measured(rule["rule"], rule["reads"])]


def without_reads(rule: dict[str, Any]) -> dict[str, object]:
    """A measurement as it is told."""
    return {name: value for name, value in rule.items() if name != "reads"}
