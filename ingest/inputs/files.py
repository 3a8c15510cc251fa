"""Files below the folder of a `local` server.

A path may hold `*`, `?`, `[…]` and `**`. In watched folders, a file that was written to within the last seconds is
left for later; whatever changes while it is read fails the load, which is then tried again. Who writes beside and
renames is never met half-way: names that begin with a dot fit no pattern.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from catalog.inputs.permits import Permits
from catalog.model.dataset import Input
from ingest.errors import PathOutsideRootError, SourceError, SourceMissingError
from ingest.inputs.file_choice import choose_files, find_next
from ingest.inputs.file_patterns import ANY_DEPTH, has_magic, match_name, split_path
from ingest.inputs.raw_batch import InputContext, RawBatch, RawPart
from ingest.ledger.landed_note import Position
from ingest.readers.columns import show_name

CHUNK_BYTES = 1 << 20
SETTLE_SECONDS = 2.0  # a watched file that was written to later than this ago may not be whole yet


@contextmanager
def open_file_batch(context: InputContext) -> Iterator[RawBatch]:
    """The bytes of the input's files, packed or not, as they lie there."""
    source, permits = context.source, context.permits
    faults: list[str] = []
    with refuse_unreadable(source):
        fingerprints = inspect_files(source, permits, faults)
    choice = choose_files(source, fingerprints, context.state)
    if source.mode == "snapshot" and not choice.names:
        raise SourceMissingError(f"No file matches {source.path!r} in {source.root!r}.")
    yield RawBatch(
        source=choice.names[0] if len(choice.names) == 1 else str(source.path),
        parts=(
            RawPart(name, read_file(source, name, fingerprints[name], permits), fingerprints[name][0])
            for name in choice.names
        ),
        size=sum(fingerprints[name][0] for name in choice.names),
        position=lambda: choice.position,
        may_be_empty=choice.may_be_empty,
        more=choice.more,
        notes=lambda: faults,
    )


def find_new_files(context: InputContext) -> Position | None:
    """The position that a load would reach now; None where nothing is new. Costs a look at each file, no reading."""
    with refuse_unreadable(context.source):
        return find_next(context.source, inspect_files(context.source, context.permits), context.state)


@contextmanager
def refuse_unreadable(source: Input) -> Iterator[None]:
    """Turns what the system has against a path into SourceError."""
    try:
        yield
    except FileNotFoundError:
        raise SourceMissingError(f"No file matches {source.path!r} in {source.root!r}.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its path is invalid"
        raise SourceError(f"The file {source.path!r} cannot be read: {reason}.") from None


def inspect_files(source: Input, permits: Permits, faults: list[str] | None = None) -> dict[str, list[int]]:
    """The files that the input's path means: name below the root -> size and time of its last change.

    Where each file is a batch of its own, one that is none, or cannot be read, holds up no other: it is named in
    `faults`. A snapshot that lacked it would delete its records, and is refused instead.
    """
    pattern = source.path or ""
    root = Path(source.root or ".").resolve(strict=has_magic(pattern))
    if not has_magic(pattern):
        return {pattern: fingerprint_of(resolve_path(root, pattern, source, permits), pattern)}
    if ".." in split_path(pattern):
        raise PathOutsideRootError(f"The path {pattern!r} is outside {source.root!r}.")
    fingerprints = {}
    strict = source.mode == "snapshot"
    faults_found = faults if faults is not None else []
    for name in sorted(set(list_files(root, "", split_path(pattern), None if strict else faults_found))):
        try:
            fingerprints[name] = fingerprint_of(resolve_path(root, name, source, permits), name, strict=strict)
        except (SourceError, OSError, ValueError, RuntimeError) as error:
            if strict:
                raise name_fault(name, error) from error
            faults_found.append(str(name_fault(name, error)))
    if source.watch:
        settled = time.time_ns() - int(SETTLE_SECONDS * 1e9)
        fingerprints = {name: fingerprint for name, fingerprint in fingerprints.items() if fingerprint[1] <= settled}
    return fingerprints


def list_files(root: Path, folder: str, patterns: Sequence[str], faults_found: list[str] | None) -> Iterator[str]:
    """The names below the root that fit; `**` follows no links to folders.

    A folder that cannot be looked into is named in `faults_found`; OSError where there is none.
    """
    if patterns[0] == ANY_DEPTH:
        yield from list_files(root, folder, [*patterns[1:]] or ["*"], faults_found)
    try:
        with os.scandir(root / folder) as found:
            entries = list(found)
    except OSError as error:
        if faults_found is None or not folder:
            raise
        faults_found.append(str(name_fault(folder, error)))
        return
    for entry in entries:
        name = f"{folder}{entry.name}"
        if patterns[0] == ANY_DEPTH:
            if is_folder(entry, follow=False) and not entry.name.startswith("."):
                yield from list_files(root, f"{name}/", patterns, faults_found)
        elif match_name(entry.name, patterns[0]):
            if len(patterns) == 1 and not is_folder(entry):
                yield name
            elif len(patterns) > 1 and is_folder(entry):
                yield from list_files(root, f"{name}/", patterns[1:], faults_found)


def is_folder(entry: os.DirEntry[str], *, follow: bool = True) -> bool:
    """Whether an entry is a folder; a link to itself is none."""
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def resolve_path(root: Path, name: str, source: Input, permits: Permits) -> Path:
    """The file's real path; PathOutsideRootError where it, or a link on its way, leads out of what may be read."""
    path = (root / name.lstrip("/")).resolve()
    if not path.is_relative_to(root):
        raise PathOutsideRootError(f"The path {name!r} is outside {source.root!r}.")
    if problem := permits.refuse_path(path):
        raise PathOutsideRootError(f"The file {problem}.")
    return path


def name_fault(name: str, error: Exception) -> SourceError:
    """What keeps one of several files from being read, with its name."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, FileNotFoundError):
        return SourceMissingError(f"The file {show_name(name)} is a broken link.")
    reason = getattr(error, "strerror", None) or "its path is invalid"
    return SourceError(f"The file {show_name(name)} cannot be read: {reason}.")


def fingerprint_of(path: Path, name: str, *, strict: bool = True) -> list[int]:
    """What changes when the file does: its size, and when it was written to.

    Where not `strict`, only of a file that may be read.
    """
    if not all_text(name):
        raise SourceError(f"The name of the file {show_name(name)} is not UTF-8.")
    found = path.stat()
    # Looked at before it is opened: a pipe would be waited for.
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"{show_name(name)} is not a file.")
    if not strict and not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return [found.st_size, found.st_mtime_ns]


def all_text(name: str) -> bool:
    """Whether a name can be written down: Linux takes any bytes for one."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def read_file(source: Input, name: str, fingerprint: list[int], permits: Permits) -> Iterator[bytes]:
    """The file's bytes, a megabyte at a time; SourceError where it changes meanwhile."""
    root = Path(source.root or ".").resolve()
    with refuse_unreadable(source):
        # All links were followed: one that has taken the file's place since then is not.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(resolve_path(root, name, source, permits), flags)
        with open(descriptor, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
            found = os.fstat(file.fileno())
    if [found.st_size, found.st_mtime_ns] != fingerprint:
        raise SourceError(f"The file {name!r} changed while it was read. Retry when it is complete.")
