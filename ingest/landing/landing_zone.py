"""The landing zone: raw batches as they came, under their SHA-256.

A batch comes into a folder of the load's own. Once it is there as a whole, it is placed: its parts become objects of
the store in the transaction that notes them in the ledger, so that nobody takes them for left behind in between.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from catalog.model.dataset import FileFormat
from catalog.storage.ledger_tables import Load
from catalog.storage.object_store import LANDING, ObjectStore
from catalog.storage.store_place import open_store
from ingest.errors import SourceError, SourceMissingError, SourceTooLargeError
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.raw import RawBatch, RawPart
from ingest.ledger.landed_note import PartNote
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings

ORPHAN_SECONDS = 86_400.0  # how old an object is before it counts as left behind by a load that was killed
LOCK_CLASS = 0x6465_6362  # the first half of the advisory locks on digests
LOCKS = 256  # a batch of many parts takes no more: Postgres has room for some thousands
AT_ONCE = 8  # objects of a bucket that are put, or fetched
LOCK_TIMEOUT = "10min"  # the longest that a large object takes to be placed


Part = TypeVar("Part")


@dataclass(frozen=True)
class LandingZone:
    """The raw batches in the store."""

    store: ObjectStore

    @classmethod
    def of(cls, settings: Settings) -> LandingZone:
        """The landing zone of an installation."""
        return cls(open_store(settings))

    def place(self, connection: sa.Connection, landed: LandedBatch) -> LandedBatch:
        """The batch, its parts in the store; the connection's transaction has to note them.

        Until that ends, nobody removes objects with these digests.
        """
        lock_digests(connection, [part.sha256 for part in landed.parts], shared=True)

        def put(part: LandedPart) -> LandedPart:
            return replace(part, path=self.store.put(part.path, key_of(part.sha256)).path)

        return replace(landed, parts=tuple(self.map_parts(put, landed.parts)))

    def recall(self, parts: Iterable[PartNote], folder: Path) -> LandedBatch:
        """A batch that was landed before, fetched into `folder` where it is not on this host.

        SourceMissingError where a part is gone, SourceError where its bytes are not those that came.
        """

        def find(part: PartNote) -> LandedPart:
            path = self.store.find(key_of(part["sha256"]), folder)
            if path is None:
                raise SourceMissingError(f"The raw batch {part['sha256'][:12]} is no longer in the landing zone.")
            if self.store.is_shared and digest_file(path) != part["sha256"]:
                path.unlink()
                raise SourceError(f"The raw batch {part['sha256'][:12]} was changed in the object store.")
            return LandedPart(part["name"], part["sha256"], path, part["size"], restore_format(part.get("form")))

        found = self.map_parts(find, list(parts))
        return LandedBatch(digest_parts(found), tuple(found))

    def map_parts(self, do: Callable[[Part], LandedPart], parts: Sequence[Part]) -> list[LandedPart]:
        """What comes of each part, in their order; of a bucket several at once, since each one is a wait."""
        if not self.store.is_shared or len(parts) == 1:
            return [do(part) for part in parts]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(do, parts))

    def holds(self, sha256: str) -> bool:
        """Whether there is an object with this digest."""
        return self.store.look_up(key_of(sha256)) is not None

    def remove_unneeded(self, engine: sa.Engine, sha256: str) -> int | None:
        """The bytes of the object with this digest, removed; None where a load needs it, or there is none."""
        with engine.begin() as connection:
            lock_digests(connection, [sha256], shared=False)
            named = Load.landed.contains({"parts": [{"sha256": sha256}]})
            if connection.execute(sa.select(sa.exists().where(Load.landed.is_not(None), named))).scalar_one():
                return None
            found = self.store.look_up(key_of(sha256))
            if found is not None:
                self.store.delete(found.key)
            return found.size if found is not None else None

    def remove_orphans(self, engine: sa.Engine, now: datetime) -> int:
        """How many objects were removed that a load brought and never noted: no erasure would find what they hold."""
        removed = (
            self.remove_unneeded(engine, sha256)
            for sha256 in list(self.find_orphans(engine, now.timestamp() - ORPHAN_SECONDS))
        )
        return sum(size is not None for size in removed)

    def find_orphans(self, engine: sa.Engine, older_than: float) -> Iterator[str]:
        """The digests of objects that no load names, stored before a moment (seconds since 1970)."""
        with engine.connect() as connection:
            named = set(connection.scalars(sa.text(NAMED_DIGESTS)))
        for found in self.store.list(LANDING):
            if found.stored_at < older_than and (digest := Path(found.key).name) not in named:
                yield digest


# An object may take longer to be put than a transaction may idle, or a statement wait, as a rule.
PATIENT = sa.text(
    "SELECT set_config('idle_in_transaction_session_timeout', '0', true), set_config('lock_timeout', :timeout, true)"
)
LOCK_SHARED, LOCK_ALONE = (
    sa.text(f"SELECT {function}({LOCK_CLASS}, number) FROM unnest(CAST(:numbers AS integer[])) AS number")
    for function in ("pg_advisory_xact_lock_shared", "pg_advisory_xact_lock")
)
NAMED_DIGESTS = """
SELECT DISTINCT part ->> 'sha256' FROM decant.loads CROSS JOIN jsonb_array_elements(landed -> 'parts') AS part
WHERE landed IS NOT NULL
"""


def land(batch: RawBatch, folder: Path, limit: int, advance: Callable[[int], None]) -> LandedBatch:
    """The batch as it came, each part in a file of `folder`; it is not in the landing zone until it is placed.

    SourceTooLargeError once more than `limit` bytes have come.
    """
    parts: list[LandedPart] = []
    left = limit
    for part in batch.parts:
        parts.append(land_part(part, folder, left, advance))
        left -= parts[-1].size
    return LandedBatch(digest_parts(parts), tuple(parts))


def land_part(part: RawPart, folder: Path, limit: int, advance: Callable[[int], None]) -> LandedPart:
    """One part as it came, in a file of `folder`."""
    make_private_folder(folder)
    digest = hashlib.sha256()
    size = 0
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="incoming-")
    draft = Path(name)
    try:
        with open(descriptor, "wb") as file:
            for chunk in part.chunks:
                size += len(chunk)
                if size > limit:
                    raise SourceTooLargeError()
                digest.update(chunk)
                file.write(chunk)
                advance(len(chunk))
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return LandedPart(part.name, digest.hexdigest(), draft, size, part.file_format)


def lock_digests(connection: sa.Connection, digests: Sequence[str], *, shared: bool) -> None:
    """Locks digests until the transaction ends: shared by who places them, alone for who removes them."""
    connection.execute(PATIENT, {"timeout": LOCK_TIMEOUT})
    # In order, so that two do not wait for each other.
    numbers = sorted({int(digest[:8], 16) % LOCKS for digest in digests})
    connection.execute(LOCK_SHARED if shared else LOCK_ALONE, {"numbers": numbers})


def digest_parts(parts: Sequence[LandedPart]) -> str:
    """The SHA-256 of a whole batch, from its parts' names and digests."""
    if len(parts) == 1:
        return parts[0].sha256
    lines = [[part.name, part.sha256] for part in parts]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_parts(landed: LandedBatch) -> list[PartNote]:
    """The parts as the ledger keeps them."""
    return [
        {
            "name": part.name,
            "sha256": part.sha256,
            "size": part.size,
            "form": asdict(part.file_format) if part.file_format else None,
        }
        for part in landed.parts
    ]


def restore_format(fields: dict[str, object] | None) -> FileFormat | None:
    """The format of a part from its fields in the ledger."""
    if not fields:
        return None
    if fields["columns"] is not None:
        fields = fields | {"columns": tuple(fields["columns"])}  # type: ignore[arg-type]
    return FileFormat(**fields)  # type: ignore[arg-type]


def key_of(sha256: str) -> str:
    """Where the object with this digest lies."""
    return f"{LANDING}/{sha256[:2]}/{sha256}"
