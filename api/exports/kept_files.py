"""File exports (Parquet, Excel): built once, cached on disk, served with range requests.

A file is named after the entity tag, so after revision, contract, view and query; processes that share the folder
share the files. One builds, the others wait; the longest unused leave when they take too much room. Hosts that share
a bucket do the same by locks in the database, and fetch from it what another one built. Where two build at once all
the same, the first one's file is that of both: ranges of one file may come from either.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from api.database.published_heads import Head
from api.exports.build_locks import BuildLocks
from api.http.negotiation import MediaType
from catalog.model.dataset import Dataset
from catalog.storage.export_files import delete_files, export_folder
from catalog.storage.object_store import EXPORTS
from catalog.storage.store_place import open_store
from runtime.errors import StoreError
from runtime.logs import log
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings

DIGEST_SUFFIX = ".sha256"
LOCK_POLL_SECONDS = 0.02
LOG = logging.getLogger("decant.exports")


@dataclass(frozen=True)
class KeptFile:
    """What is said of a finished file."""

    digest: str  # as Repr-Digest has it (RFC 9530)
    facts: os.stat_result
    made_at: float  # in seconds since 1970; the file's own time is that of its latest use


class ExportFiles:
    """The folder of finished files."""

    def __init__(self, settings: Settings, locks: BuildLocks) -> None:
        self.store = open_store(settings)
        self.locks = locks  # between hosts
        self.folder = settings.exports_folder
        self.limit_bytes = settings.export_cache_bytes
        self.oldest: dict[str, tuple[str, int]] = {}  # by address: epoch and revision before which its files are gone

    def forget_ended(self, dataset: Dataset, epoch: str, head: Head) -> None:
        """Removes the files of revisions that can no longer be read: who erases or prunes may have another folder."""
        oldest = (epoch, head.oldest_revision)
        if not head.oldest_revision or self.oldest.get(dataset.address) == oldest:
            return
        self.oldest[dataset.address] = oldest
        try:
            delete_files(self.folder, dataset, before=oldest)
        except OSError as error:
            # Nobody can be sent them any more; its owner should know that they are there.
            log(LOG, "exports_not_removed", logging.WARNING, folder=export_folder(self.folder, dataset), reason=error)

    def path_of(self, dataset: Dataset, tag: str, media_type: MediaType) -> Path:
        """Where the file with this tag lies, or will lie; its name begins with its epoch and revision."""
        name = tag.strip('"')
        return export_folder(self.folder, dataset) / f"{name}.{media_type.name}"

    async def find_or_build(self, path: Path, build: Callable[[Path], Awaitable[None]]) -> bool:
        """Whether the file was built now; FileNotFoundError where it was removed again by somebody else."""
        built = not self.is_whole(path)
        if built:
            make_private_folder(self.folder)
            make_private_folder(path.parent)
            lock = await wait_for_lock(path.with_suffix(".lock"))
            try:
                if not self.is_whole(path) and not await asyncio.to_thread(self.fetch, path):
                    await self.build_once(path, build)
            finally:
                os.close(lock)
            await asyncio.to_thread(self.make_room, path)
        os.utime(path)
        return built

    async def build_once(self, path: Path, build: Callable[[Path], Awaitable[None]]) -> None:
        """Builds the file, unless another host is at it: then fetches what that one built."""
        if not self.store.is_shared:
            await self.build(path, build)
            return
        async with self.locks.hold(self.key_of(path)):
            # Whoever had the lock before us may have finished it.
            if not await asyncio.to_thread(self.fetch, path):
                await self.build(path, build)
                await asyncio.to_thread(self.share, path)

    async def build(self, path: Path, build: Callable[[Path], Awaitable[None]]) -> None:
        """Nothing comes back; the file is there, whole: it gets its name when it is finished.

        FileNotFoundError where somebody has removed it meanwhile, as an erasure does.
        """
        # An erasure removes locks, too: another build of the same file may have begun.
        draft = path.with_suffix(f".{token_hex(8)}.part")
        try:
            await build(draft)
            digest = await asyncio.to_thread(digest_file, draft)
            digest_path(path).write_text(digest)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def fetch(self, path: Path) -> bool:
        """Whether the file was in the bucket that hosts share, and is here now."""
        if not self.store.is_shared:
            return False
        try:
            found = self.store.look_up(self.key_of(path))
            if found is None or self.store.find(found.key, path.parent) is None:
                return False
        except StoreError as error:
            log(LOG, "exports_not_shared", logging.WARNING, reason=error)
            return False
        digest = digest_path(path)
        digest.write_text(digest_file(path))
        os.utime(digest, (found.stored_at, found.stored_at))  # the file is as old as others say it is
        return True

    def share(self, path: Path) -> None:
        """Puts a file that was built here into the bucket; that of a host that was quicker takes its place."""
        try:
            placed = self.store.put(path, self.key_of(path))
        except StoreError as error:
            # It is served all the same: the other hosts build their own.
            log(LOG, "exports_not_shared", logging.WARNING, reason=error)
            return
        if not placed.is_first:
            path.unlink(missing_ok=True)
        self.fetch(path)

    def key_of(self, path: Path) -> str:
        """The key of a file in the bucket."""
        return f"{EXPORTS}/{path.relative_to(self.folder)}"

    def is_whole(self, path: Path) -> bool:
        """Whether the file is there with all that is said of it."""
        return path.exists() and digest_path(path).exists()

    def metadata_of(self, path: Path) -> KeptFile:
        """What is said of a file; FileNotFoundError where it was removed meanwhile."""
        digest = digest_path(path)
        return KeptFile(digest.read_text(), path.stat(), digest.stat().st_mtime)

    def make_room(self, kept: Path) -> None:
        """Removes the longest unused files beyond the limit, but not the one that is just being served."""
        together: dict[Path, list[Path]] = {}
        for file in self.folder.rglob("*"):
            if file.is_file():
                together.setdefault(stem_of(file), []).append(file)
        found = sorted((*measure(files), stem) for stem, files in together.items())
        total = sum(size for _, size, _ in found)
        for _, size, stem in found:
            if total <= self.limit_bytes:
                return
            if stem != stem_of(kept):
                for file in together[stem]:
                    file.unlink(missing_ok=True)
                total -= size


def digest_path(path: Path) -> Path:
    """Where a file's digest lies."""
    return path.with_suffix(path.suffix + DIGEST_SUFFIX)


def stem_of(path: Path) -> Path:
    """What a file, its digest, its lock and its drafts have in common."""
    return path.with_name(path.name.partition(".")[0])


def measure(files: Sequence[Path]) -> tuple[float, int]:
    """When the last of some files was used, and how many bytes they have."""
    facts = []
    for file in files:
        # Another process may be quicker.
        with suppress(FileNotFoundError):
            facts.append(file.stat())
    return max((fact.st_mtime for fact in facts), default=0.0), sum(fact.st_size for fact in facts)


async def wait_for_lock(path: Path) -> int:
    """An open file that nobody else holds locked.

    Nobody waits in a thread: there are few of them, and whoever builds needs one.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not take_lock(handle):
            await asyncio.sleep(LOCK_POLL_SECONDS)
    except BaseException:
        os.close(handle)
        raise
    return handle


def take_lock(handle: int) -> bool:
    """Whether the file is locked by us from now on."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def digest_file(path: Path) -> str:
    """The SHA-256 of a file as Repr-Digest writes it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return f"sha-256=:{b64encode(digest).decode()}:"
