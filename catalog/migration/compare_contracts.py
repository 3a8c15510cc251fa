"""What changed between two contracts of a product, and which semver step each change demands. Pure.

Consumers come first: what may break one of them is a major step, what only offers more is a minor one, words are a
patch. What the standard lets a contract say and nothing here gives a meaning to counts as words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from catalog.migration.compare_promises import Document, compare_promises
from catalog.migration.compare_property import Difference, compare_property
from catalog.model.dataset import Dataset, ForeignKey, Gate, Product, Property
from catalog.model.semantic_version import Step, parse_version

# Parts of a contract's text that are compared by what they mean, each in a place of its own.
COMPARED_IN_PRODUCT = frozenset({"version", "status", "schema", "roles", "slaProperties"})
COMPARED_IN_DATASET = frozenset({"name", "properties", "relationships", "physicalName"})
COMPARED_IN_PROPERTY = frozenset({"name", "relationships", "physicalName"})
WORDS = frozenset({"description", "examples", "businessName", "tags", "authoritativeDefinitions", "id"})


@dataclass(frozen=True)
class Change:
    """One difference between two contracts, and the step that it demands."""

    step: Step
    dataset: str | None
    property: str | None
    message: str

    def place(self) -> str:
        """DATASET.PROPERTY, DATASET, or `contract`."""
        return ".".join(filter(None, (self.dataset, self.property))) or "contract"

    def __str__(self) -> str:
        return f"{self.place()}: {self.message}"


@dataclass(frozen=True)
class Comparison:
    """Two contracts of one product side by side."""

    old_version: str
    new_version: str
    changes: tuple[Change, ...]
    problem: str | None  # why the new contract's version may not be what it is

    @property
    def step(self) -> Step | None:
        """The step that all changes together demand; None where nothing changed."""
        return max((change.step for change in self.changes), default=None)

    @property
    def lowest_version(self) -> str:
        """The lowest version that the new contract may carry."""
        return str(parse_version(self.old_version).after(self.step)) if self.step else self.old_version

    def lines(self) -> list[str]:
        """The demanded step and each change that demands one, the most demanding first."""
        step = f"{self.step.word} step" if self.step else "no relevant change"
        ordered = sorted(self.changes, key=lambda change: -change.step)
        return [
            f"{self.old_version} → {self.new_version}: {step}",
            *(f"  {change.step.word:5}  {change}" for change in ordered),
        ]


def compare_contracts(old: Product, new: Product) -> Comparison:
    """What changed, and whether the version moved far enough for it."""
    changes = tuple(compare_products(old, new))
    comparison = Comparison(old.version, new.version, changes, None)
    problem = find_problem(comparison)
    return Comparison(old.version, new.version, changes, problem)


def find_problem(comparison: Comparison) -> str | None:
    """Why the version may not be what it is, and what to do about it; None where it moved far enough."""
    old, new = parse_version(comparison.old_version), parse_version(comparison.new_version)
    if new < old:
        return f"the version went back from {comparison.old_version} to {comparison.new_version}"
    if comparison.step is None or old.allows(comparison.step, new):
        return None
    lowest = old.after(comparison.step)
    moved = "stayed at" if old == new else "moved from"
    versions = comparison.new_version if old == new else f"{comparison.old_version} to {comparison.new_version}"
    advice = f"set version {lowest} or later"
    if lowest.major > old.major:
        advice = f"write version {lowest} as a second contract file beside this one: both are served"
    return f"the version {moved} {versions}, but the changes are a {comparison.step.word} step: {advice}"


def compare_products(old: Product, new: Product) -> list[Change]:
    """Every change: the contract's own first, then dataset by dataset in the new contract's order."""
    found = [
        Change(step, None, None, message)
        for step, message in [
            *compare_promises(old, new),
            *compare_words(old.document, new.document, COMPARED_IN_PRODUCT),
        ]
    ]
    found += compare_schemas(old, new)
    if not found and {**old.document, "version": ""} != {**new.document, "version": ""}:
        found.append(Change(Step.PATCH, None, None, "descriptive text changed"))
    return found


def compare_schemas(old: Product, new: Product) -> Iterator[Change]:
    """The changes of all datasets."""
    pairs = match_names(
        {name: dataset.table for name, dataset in old.datasets.items()},
        {name: dataset.table for name, dataset in new.datasets.items()},
    )
    parts = [{part.get("name"): part for part in side.document.get("schema") or []} for side in (old, new)]
    for before, after in pairs:
        if after is None:
            yield Change(Step.MAJOR, before, None, "dataset removed")
        elif before is None:
            yield Change(Step.MINOR, after, None, "dataset added")
        else:
            if before != after:
                yield Change(Step.MAJOR, after, None, f"renamed from {before}; its records are kept")
            yield from compare_datasets(
                old.datasets[before], new.datasets[after], parts[0].get(before, {}), parts[1].get(after, {})
            )


def match_names(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str | None, str | None]]:
    """(old name, new name) of each part in the new order, then what is gone; names -> physical names.

    A part whose name is gone and whose physical name lives on was renamed.
    """
    places = {place: name for name, place in old.items() if name not in new}
    kept = set()
    for name, place in new.items():
        before = name if name in old else places.get(place)
        kept.add(before)
        yield before, name
    for name in old:
        if name not in kept:
            yield name, None


def compare_datasets(old: Dataset, new: Dataset, old_part: Document, new_part: Document) -> Iterator[Change]:
    """The changes of one dataset, its properties' after its own."""
    renamed: dict[str, str] = {}
    found: list[Change] = []
    children = [{child.get("name"): child for child in part.get("properties") or []} for part in (old_part, new_part)]
    for before, after in match_names(columns_of(old), columns_of(new)):
        if after is None:
            found.append(Change(Step.MAJOR, new.name, before, "property removed"))
        elif before is None:
            found.append(describe_new(new, new.properties[after]))
        else:
            renamed[before] = after
            if before != after:
                found.append(Change(Step.MAJOR, new.name, after, f"renamed from {before}; its values are kept"))
            found += [
                Change(step, new.name, after, message)
                for step, message in compare_children(
                    old.properties[before],
                    new.properties[after],
                    children[0].get(before, {}),
                    children[1].get(after, {}),
                )
            ]
    gates, stored = list(compare_gates(old, new)), list(compare_storage(old, new))
    told = COMPARED_IN_DATASET | ({"quality", "customProperties"} if gates else set())
    told |= {"customProperties"} if stored else set()
    own = [
        *compare_keys(old, new, renamed),
        *compare_links(old, new, renamed),
        *gates,
        *stored,
        *compare_words(old_part, new_part, told),
    ]
    yield from (Change(step, new.name, None, message) for step, message in own)
    yield from found


def columns_of(dataset: Dataset) -> dict[str, str]:
    """The column of each property."""
    return {name: prop.column for name, prop in dataset.properties.items()}


def describe_new(dataset: Dataset, prop: Property) -> Change:
    """A property that was not there before: senders must give one that is required."""
    step = Step.MAJOR if prop.required else Step.MINOR
    return Change(step, dataset.name, prop.name, f"{'required' if prop.required else 'optional'} property added")


def compare_children(old: Property, new: Property, old_part: Document, new_part: Document) -> Iterator[Difference]:
    """The differences of one property, and of what is nested in it."""
    found = list(compare_property(old, new))
    # What a rule or a type already reports is not repeated as descriptive text.
    told = COMPARED_IN_PROPERTY if not found else COMPARED_IN_PROPERTY | (set(new_part) | set(old_part)) - WORDS
    yield from found
    yield from compare_words(old_part, new_part, told)


def compare_keys(old: Dataset, new: Dataset, renamed: Mapping[str, str]) -> Iterator[Difference]:
    """A key of other properties, or in another order, makes every record's address another one."""
    if tuple(renamed.get(name, name) for name in old.key) != new.key:
        yield Step.MAJOR, f"the key is {', '.join(new.key)} instead of {', '.join(old.key)}"


def compare_links(old: Dataset, new: Dataset, renamed: Mapping[str, str]) -> Iterator[Difference]:
    """Foreign keys that came, went, or are enforced now and were not."""
    before = {name_link(key, renamed): key.enforced for key in old.foreign_keys}
    after = {name_link(key, {}): key.enforced for key in new.foreign_keys}
    for name, enforced in after.items():
        if name not in before:
            word = "enforced" if enforced else "not enforced"
            yield (Step.MAJOR if enforced else Step.MINOR), f"foreign key {name} added, {word}"
        elif enforced != before[name]:
            word = "enforced now" if enforced else "no longer enforced"
            yield (Step.MAJOR if enforced else Step.MINOR), f"foreign key {name} is {word}"
    for name in before:
        if name not in after:
            yield Step.MINOR, f"foreign key {name} removed"


def name_link(key: ForeignKey, renamed: Mapping[str, str]) -> str:
    """A foreign key as one reads it."""
    sources = ", ".join(renamed.get(name, name) for name in key.properties)
    return f"{sources} → {key.dataset}.{', '.join(key.targets)}"


def compare_gates(old: Dataset, new: Dataset) -> Iterator[Difference]:
    """Batch-level rules: they hold a load back, and change nothing about what a record looks like."""
    before, after = {facts_of(gate): gate for gate in old.gates}, {facts_of(gate): gate for gate in new.gates}
    for facts, gate in after.items():
        if facts not in before:
            yield Step.MINOR, f"quality rule {gate.name} added or changed"
    names = {gate.name for facts, gate in after.items() if facts not in before}
    for facts, gate in before.items():
        if facts not in after and gate.name not in names:
            yield Step.MINOR, f"quality rule {gate.name} removed"
    for word, was, is_ in (
        ("maxRejected", old.max_rejected, new.max_rejected),
        ("maxDeleted", old.max_deleted, new.max_deleted),
    ):
        if was != is_:
            yield Step.MINOR, f"{word} is {is_:.4g} instead of {was:.4g} of the records"
    if old.min_records != new.min_records:
        yield Step.MINOR, f"minRecords is {new.min_records} instead of {old.min_records}"
    if old.reject_unknown_columns != new.reject_unknown_columns:
        yield Step.MINOR, f"unknown columns are {'refused' if new.reject_unknown_columns else 'ignored'} now"


def compare_storage(old: Dataset, new: Dataset) -> Iterator[Difference]:
    """How records are stored: no caller sees it, but `decant migrate` copies the tables."""
    if old.partitions != new.partitions:
        yield Step.PATCH, f"partitions is {new.partitions or 'none'} instead of {old.partitions or 'none'}"


def facts_of(gate: Gate) -> str:
    """All of a gate but its words."""
    facts = {name: value for name, value in vars(gate).items() if name not in {"description", "dimension"}}
    return repr(sorted(facts.items()))


def compare_words(old: Document, new: Document, told: Iterable[str]) -> Iterator[Difference]:
    """The keys of one part of the text that differ and are not reported elsewhere."""
    apart = [key for key in {**old, **new} if old.get(key) != new.get(key) and key not in told]
    if apart:
        yield Step.PATCH, f"descriptive text changed: {', '.join(apart)}"
