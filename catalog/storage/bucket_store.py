"""Objects in a bucket of an S3-compatible store.

Who may use it is only ever said by the environment, as every tool for such stores does it: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, or the machine's own role.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from catalog.storage.object_store import Placed, StoredObject
from runtime.bucket_location import SCHEME
from runtime.errors import StoreError, StoreUnavailableError

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT = timedelta(seconds=10)
READ_TIMEOUT = timedelta(seconds=60)  # without a byte
TOTAL_TIMEOUT = timedelta(hours=1)  # of one object
RETRIES = 4
RETRY_TIMEOUT = timedelta(seconds=60)
# A conditional put is sent as one request, which stores take up to 5 GB.
ONE_REQUEST_BYTES = 4 * 2**30
REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden)\b")  # a listing says it in its words only


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
            if isinstance(error, PermissionDeniedError | UnauthenticatedError) or REFUSED.search(str(error)):
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
    config: Any = {} if plain else {"endpoint": f"{parts.scheme}://{parts.netloc}"}
    options: Any = {
        "allow_http": parts.scheme == "http",
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "timeout": TOTAL_TIMEOUT,
    }
    retries: Any = {"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT}
    try:
        return S3Store(
            bucket,
            prefix=folder.strip("/") or None,
            config=config | ({} if plain else {"virtual_hosted_style_request": False}),
            client_options=options,
            retry_config=retries,
        )
    except (BaseError, ValueError):
        raise StoreError(f"{url} is not a location in an object store.") from None


def described(found: Any) -> StoredObject:
    """What is said of an object."""
    return StoredObject(found["path"], found["size"], found["last_modified"].timestamp())
