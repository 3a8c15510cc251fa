"""Objects in a bucket of an S3-compatible store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from catalog.storage.object_store import Placed, StoredObject
from runtime import bucket_client
from runtime.bucket_client import CHUNK_BYTES, is_refusal
from runtime.bucket_location import SCHEME
from runtime.errors import StoreError, StoreUnavailableError

# A conditional put is sent as one request, which stores take up to 5 GB.
ONE_REQUEST_BYTES = 4 * 2**30


class BucketStore:
    """Objects of a bucket, or of a folder in it."""

    is_shared = True

    def __init__(self, url: str, *, refuses_versions: bool) -> None:
        self.url = url
        self.refuses_versions = refuses_versions
        self.client = open_client(url)

    def put(self, draft: Path, key: str) -> Placed:
        """Makes a finished file the object, unless there is one already; the draft stays, under the object's name."""
        is_first = True
        with self.translated(key):
            try:
                if draft.stat().st_size <= ONE_REQUEST_BYTES:
                    self.check_versions(key, obstore.put(self.client, key, draft, mode="create").get("version"))
                elif is_first := self.look_up(key) is None:
                    self.check_versions(key, obstore.put(self.client, key, draft).get("version"))
            except AlreadyExistsError:
                is_first = False
            except (NotFoundError, FileNotFoundError):
                raise self.missing() from None
        return Placed(draft.replace(draft.with_name(Path(key).name)), is_first)

    def missing(self) -> StoreError:
        """What is said where there is no such bucket."""
        return StoreError(f"{self.url} does not exist: make the bucket first.")

    def check_versions(self, key: str, version: str | None) -> None:
        """StoreError in production where the bucket keeps what is deleted: nothing could be erased from it."""
        if self.refuses_versions and version not in {None, "null"}:
            self.delete(key)
            raise StoreError(
                f"{self.url} keeps versions of deleted objects, so that no record could be erased: turn versioning"
                f" off."
            )

    def find(self, key: str, folder: Path) -> Path | None:
        """A file that holds the object, fetched into `folder` unless it is there."""
        target = folder / Path(key).name
        if target.is_file():
            return target
        draft = target.with_name(f"{target.name}.{token_hex(8)}.part")
        try:
            with self.translated(key):
                result = obstore.get(self.client, key)
                with draft.open("wb") as file:
                    for piece in result.stream(min_chunk_size=CHUNK_BYTES):
                        file.write(piece)
            if draft.stat().st_size != result.meta["size"]:
                raise StoreUnavailableError(f"The object {key} of {self.url} was received incompletely.")
            return draft.replace(target)
        except (NotFoundError, FileNotFoundError):
            return None
        finally:
            draft.unlink(missing_ok=True)

    def look_up(self, key: str) -> StoredObject | None:
        """What is said of an object."""
        try:
            with self.translated(key):
                return described(obstore.head(self.client, key))
        except (NotFoundError, FileNotFoundError):
            return None

    def delete(self, key: str) -> None:
        """Takes an object away."""
        with self.translated(key):
            obstore.delete(self.client, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects below a folder of keys."""
        with self.translated(prefix):
            try:
                for batch in obstore.list(self.client, prefix=prefix):
                    yield from map(described, batch)
            except (NotFoundError, FileNotFoundError):
                raise self.missing() from None

    @contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Turns what the store answers into StoreError; its own words may hold keys, so they are not passed on."""
        try:
            yield
        except (NotFoundError, FileNotFoundError, AlreadyExistsError, StoreError):
            raise
        except (BaseError, OSError, ValueError) as error:
            if is_refusal(error):
                raise StoreError(
                    f"{self.url} denies access: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must belong to an account"
                    f" that may list, read, write and delete there."
                ) from None
            raise StoreUnavailableError(
                f"{self.url} does not respond, or closed the connection ({key}). Retry."
            ) from None


def open_client(url: str) -> S3Store:
    """The client of the bucket at s3://bucket/folder or https://host/bucket/folder; StoreError for other texts."""
    parts = urlsplit(url)
    plain = url.startswith(SCHEME)
    bucket, _, folder = (url.removeprefix(SCHEME) if plain else parts.path.lstrip("/")).partition("/")
    endpoint = "" if plain else f"{parts.scheme}://{parts.netloc}"
    try:
        return bucket_client.open_client(bucket, folder.strip("/"), endpoint)
    except (BaseError, ValueError):
        raise StoreError(f"{url} is not a location in an object store.") from None


def described(found: Any) -> StoredObject:
    """What is said of an object."""
    return StoredObject(found["path"], found["size"], found["last_modified"].timestamp())
