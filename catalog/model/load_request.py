"""Load requests: load from the input, or one of the requests that the ledger stores. Pure.

The ledger keeps a request as JSON, `to_json`; `read_request` gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from catalog.model.dataset import Dataset, is_derived
from catalog.model.reject_choice import EVERYTHING, RejectChoice, read_choice
from runtime.json_types import JsonObject


@dataclass(frozen=True)
class FromSource:
    """Bring what the dataset's input holds now."""

    def kind(self, dataset: Dataset) -> str:
        """What the ledger calls the load: `refresh` where the dataset is derived from others."""
        return "refresh" if is_derived(dataset) else "ingest"

    def to_json(self) -> None:
        """Nothing was asked for beside the input."""


@dataclass(frozen=True)
class Replay:
    """Merge open rejected records again, all or those of a choice, or the whole raw batch of an earlier load."""

    load_id: int | None = None
    choice: RejectChoice = EVERYTHING

    def kind(self, dataset: Dataset) -> str:
        """What the ledger calls the load."""
        return "replay"

    def to_json(self) -> JsonObject:
        """As the ledger keeps it."""
        return {"replay": self.choice.to_json() if self.load_id is None else {"load": self.load_id}}


@dataclass(frozen=True)
class PublishWithheld:
    """Publish the batch of a load that a gate held back: the gates are measured, and hold nothing back."""

    load_id: int
    note: str | None = None  # why, for the record

    def kind(self, dataset: Dataset) -> str:
        """What the ledger calls the load: its batch came from the input."""
        return FromSource().kind(dataset)

    def to_json(self) -> dict[str, object]:
        """As the ledger keeps it."""
        return {"publish": self.load_id} | ({} if self.note is None else {"note": self.note})


@dataclass(frozen=True)
class Erase:
    """Take one key out of a dataset, wherever it lies. When that is over, only the key's digest is kept."""

    key: tuple[str, ...] | None
    key_sha256: str | None = None

    def kind(self, dataset: Dataset) -> str:
        """What the ledger calls the load."""
        return "prune"

    def to_json(self) -> JsonObject:
        """As the ledger keeps it until the load is over."""
        key: JsonObject = {} if self.key is None else {"key": list(self.key)}
        return {"erase": key | ({} if self.key_sha256 is None else {"key_sha256": self.key_sha256})}


@dataclass(frozen=True)
class Prune:
    """Take out the records whose property `element` is older than `before`."""

    element: str
    before: datetime

    def kind(self, dataset: Dataset) -> str:
        """What the ledger calls the load."""
        return "prune"

    def to_json(self) -> dict[str, object]:
        """As the ledger keeps it."""
        return {"prune": {"element": self.element, "before": self.before.isoformat()}}


@dataclass(frozen=True)
class Dismiss:
    """Close the open rejected records of a choice, which will not be corrected."""

    choice: RejectChoice
    note: str | None = None  # why, for the record

    def kind(self, dataset: Dataset) -> str:
        """What the ledger calls the load."""
        return "dismiss"

    def to_json(self) -> JsonObject:
        """As the ledger keeps it."""
        return {"dismiss": self.choice.to_json() | ({} if self.note is None else {"note": self.note})}


ERASED_KEY = ("erase", "key")  # the part of a kept request that nobody is shown, and that goes when its load is over


def show_request(document: Mapping[str, object] | None) -> dict[str, object] | None:
    """A request as the ledger keeps it, without the key that is to be erased: for answers, commands and audit."""
    if document is None:
        return None
    member, key = ERASED_KEY
    shown = dict(document)
    if isinstance(erased := shown.get(member), Mapping):
        shown[member] = {name: value for name, value in erased.items() if name != key}
    return shown


Withdrawal: TypeAlias = Erase | Prune  # takes records out, and brings none
BatchRequest: TypeAlias = FromSource | Replay | PublishWithheld
LoadRequest: TypeAlias = BatchRequest | Withdrawal | Dismiss


def read_request(document: Mapping[str, object] | None) -> LoadRequest:
    """The request that the ledger keeps; ValueError where this version of Decant knows none of that form."""
    match document or {}:
        case {"replay": {"load": int(load_id)}}:
            return Replay(load_id)
        case {"replay": {**choice}}:
            return Replay(None, read_choice(choice))
        case {"publish": int(load_id), "note": str(note)}:
            return PublishWithheld(load_id, note)
        case {"publish": int(load_id)}:
            return PublishWithheld(load_id)
        case {"erase": {"key": [*key], "key_sha256": str(digest)}}:
            return Erase(tuple(key), digest)
        case {"erase": {"key": [*key]}}:
            return Erase(tuple(key))
        case {"erase": {"key_sha256": str(digest)}}:
            return Erase(None, digest)
        case {"erase": {}}:
            return Erase(None)
        case {"prune": {"element": str(element), "before": str(before)}}:
            return Prune(element, datetime.fromisoformat(before))
        case {"dismiss": {"note": str(note), **choice}}:
            return Dismiss(read_choice(choice), note)
        case {"dismiss": {**choice}}:
            return Dismiss(read_choice(choice))
        case mapping if not mapping:
            return FromSource()
    raise ValueError(f"This version does not support a load request of the form {sorted(document or ())}.")
