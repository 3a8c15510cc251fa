"""Which rejected records of a dataset are meant. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.json_types import JsonObject

IDS_AT_ONCE = 1000


@dataclass(frozen=True)
class RejectChoice:
    """The rejected records for which all that is given holds; every one of the dataset where nothing is given."""

    reason: str | None = None  # a rule, a property, or `property: rule`
    rule: str | None = None
    prop: str | None = None  # a property; with `rule`: of the same broken rule
    ids: tuple[int, ...] | None = None
    load_id: int | None = None  # the load that rejected them

    @property
    def is_everything(self) -> bool:
        """Whether nothing is given."""
        return self == EVERYTHING

    def to_json(self) -> JsonObject:
        """As the ledger keeps it."""
        facts: JsonObject = {
            "reason": self.reason,
            "rule": self.rule,
            "property": self.prop,
            "ids": list(self.ids) if self.ids is not None else None,
            "load": self.load_id,
        }
        return {name: value for name, value in facts.items() if value is not None}


EVERYTHING = RejectChoice()


def read_choice(document: Mapping[object, object]) -> RejectChoice:
    """The choice that the ledger keeps; ValueError where this version of Decant knows none of that form."""
    chosen: dict[str, object] = {}
    for name, value in document.items():
        match name, value:
            case (("reason" | "rule"), str()):
                chosen[name] = value
            case "property", str():
                chosen["prop"] = value
            case "load", int():
                chosen["load_id"] = value
            case "ids", [*ids] if all(isinstance(each, int) for each in ids):
                chosen["ids"] = tuple(ids)
            case _:
                raise ValueError(f"This version cannot choose rejected records by {name!r}.")
    return RejectChoice(**chosen)  # type: ignore[arg-type]
