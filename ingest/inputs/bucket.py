"""Objects in an S3-compatible store: patterns, batches and positions as of files, told apart by their ETags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PreconditionError,
)
from obstore.store import S3Store

from catalog.inputs.permits import Permits
from catalog.model.dataset import Input
from catalog.model.sources import BucketSource
from ingest.errors import PathOutsideRootError, SourceError, SourceMissingError, SourceUnavailableError
from ingest.inputs.file_choice import choose_files, find_next
from ingest.inputs.file_patterns import fixed_prefix, has_magic, match_path, split_path
from ingest.inputs.raw_batch import InputContext, RawBatch, RawPart
from ingest.inputs.variables import VariableExpander
from ingest.ledger.landed_note import Position
from runtime.bucket_client import CHUNK_BYTES, is_refusal, open_client


@contextmanager
def open_bucket_batch(context: InputContext) -> Iterator[RawBatch]:
    """The bytes of the input's objects, packed or not, as they lie there."""
    source = context.source
    store = open_store(source, context.permits)
    fingerprints = inspect_objects(store, source)
    choice = choose_files(source, fingerprints, context.state)
    if source.mode == "snapshot" and not choice.names:
        raise SourceMissingError(f"No object matches {source.path!r} in {source_of(source).address}.")
    yield RawBatch(
        source=choice.names[0] if len(choice.names) == 1 else str(source.path),
        parts=(
            RawPart(name, read_object(store, source, name, *fingerprints[name]), fingerprints[name][1])
            for name in choice.names
        ),
        size=sum(fingerprints[name][1] for name in choice.names),
        position=lambda: choice.position,
        may_be_empty=choice.may_be_empty,
        more=choice.more,
    )


def find_new_objects(context: InputContext) -> Position | None:
    """The position that a load would reach now; None where nothing is new. Costs a listing, no reading."""
    store = open_store(context.source, context.permits)
    return find_next(context.source, inspect_objects(store, context.source), context.state)


def open_store(source: Input, permits: Permits) -> S3Store:
    """The store, its variables filled in now; SourceError where one is closed, or not set."""
    expander, location = VariableExpander(permits), source_of(source)
    if problem := permits.refuse_bucket(location, source.path or "", expander.expand):
        raise PathOutsideRootError(f"The bucket {problem}.")
    name, folder, endpoint = (expander.expand(text or "") for text in location.filled)
    try:
        return open_client(name, folder, endpoint)
    except (BaseError, ValueError) as error:
        raise SourceError(f"{location.address} is not a location in an object store.") from error


def inspect_objects(store: S3Store, source: Input) -> dict[str, list[Any]]:
    """The objects that the input's path means: name below the server's location -> ETag and size."""
    pattern = source.path or ""
    with refuse_unreachable(source, pattern):
        if not has_magic(pattern):
            found = obstore.head(store, pattern)
            return {pattern: [found["e_tag"], found["size"]]}
        fingerprints = {}
        patterns = split_path(pattern)
        for batch in obstore.list(store, prefix=fixed_prefix(pattern) or None):
            for item in batch:
                if match_path(item["path"].split("/"), patterns):
                    fingerprints[item["path"]] = [item["e_tag"], item["size"]]
        return fingerprints


def read_object(store: S3Store, source: Input, name: str, etag: str | None, size: int) -> Iterator[bytes]:
    """The object's bytes in pieces; SourceError where it is another meanwhile, or does not come whole."""
    left = size
    with refuse_unreachable(source, name):
        result = obstore.get(store, name, options={"if_match": etag} if etag else {})
        for piece in result.stream(min_chunk_size=CHUNK_BYTES):
            chunk = bytes(piece)
            left -= len(chunk)
            yield chunk
    if left:
        raise SourceUnavailableError(
            f"The object {name!r} was received incompletely: {size - left:,} of {size:,} bytes."
        )


@contextmanager
def refuse_unreachable(source: Input, name: str) -> Iterator[None]:
    """Turns what the store answers into SourceError; its own words may hold keys, so they are not passed on."""
    location = source_of(source).address
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise SourceMissingError(f"The object {name!r} does not exist in {location}.") from None
    except PreconditionError:
        raise SourceUnavailableError(f"The object {name!r} was replaced while it was read. Retry.") from None
    except (BaseError, OSError, ValueError) as error:
        if is_refusal(error):
            raise SourceError(
                f"{location} denies access: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must belong to an"
                f" account with read access."
            ) from None
        raise SourceUnavailableError(
            f"{location} does not respond, or closed the connection: {name!r} could not be read. Retry."
        ) from None


def source_of(source: Input) -> BucketSource:
    """The input's store; SourceError where it has none."""
    if not isinstance(source.source, BucketSource):
        raise SourceError("The input is not a bucket.")
    return source.source
