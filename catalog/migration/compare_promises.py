"""What changed of all that a contract grants and promises as a whole, and the semver step that it demands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.migration.compare_property import Difference
from catalog.model.dataset import Product
from catalog.model.semantic_version import Step

PROMISED_STATUSES = ("active", "deprecated", "retired")

Document = Mapping[str, Any]  # a part of a contract's text


def compare_promises(old: Product, new: Product) -> Iterator[Difference]:
    """What the contract as a whole grants and promises."""
    if old.status != new.status:
        # The standard's ways to end a contract are `deprecated` and `retired`; to call it a draft is to break it.
        withdrawn = old.status in PROMISED_STATUSES and new.status not in PROMISED_STATUSES
        yield (Step.MAJOR if withdrawn else Step.MINOR), f"status is {new.status} instead of {old.status}"
    if old.anonymous != new.anonymous:
        step = Step.MINOR if new.anonymous else Step.MAJOR
        yield step, f"reading without a key is {'open' if new.anonymous else 'closed'} now"
    yield from compare_roles(list_roles(old.document), list_roles(new.document))
    if old.document.get("slaProperties") != new.document.get("slaProperties"):
        yield Step.MINOR, "slaProperties changed"


def list_roles(document: Document) -> dict[str, Document]:
    """The contract's roles by name."""
    return {str(role.get("role")): role for role in document.get("roles") or []}


def compare_roles(old: Mapping[str, Document], new: Mapping[str, Document]) -> Iterator[Difference]:
    """Roles that came, went or grant something else."""
    for name in {**old, **new}:
        if name not in new:
            yield Step.MAJOR, f"role {name} removed"
        elif name not in old:
            yield Step.MINOR, f"role {name} added"
        else:
            rows = [(role.get("access"), find_custom(role, "rows")) for role in (old[name], new[name])]
            if rows[0] != rows[1]:
                yield Step.MAJOR, f"role {name} grants other access"
            elif old[name] != new[name]:
                yield Step.PATCH, f"role {name} changed"


def find_custom(part: Document, name: str) -> object:
    """The value of a custom property; None where there is none."""
    custom_properties: Iterable[Document] = part.get("customProperties") or []
    return next((custom.get("value") for custom in custom_properties if custom.get("property") == name), None)
