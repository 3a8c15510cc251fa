"""A product made of a contract and files in a folder of its own, on a database of its own."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import psycopg
import uvicorn
from sqlalchemy import Engine

from api.app import create_app
from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, FileFormat
from catalog.storage.dataset_tables import build_tables
from catalog.storage.object_store import LANDING
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.loading.load_report import LoadReport
from ingest.loading.loader import Loader
from ingest.readers import parse_batch
from ingest.readers.record_writer import ParsedBatch
from runtime.postgres.database import DatabaseUrls, make_engine
from runtime.settings.settings import Settings, load_settings
from tests.support.service import NO_TLS, run_in_thread

CLIENT_SECONDS = 60.0  # of a request of a test: none takes long, but a machine may be busy
PEOPLE = """
apiVersion: v3.1.0
kind: DataContract
id: people
name: People
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: people
    customProperties:
      - property: input
        value: {server: here, path: people.csv, mode: snapshot, nullValues: ["", NA]}
      - {property: maxDeleted, value: 100}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: name, logicalType: string, required: true, logicalTypeOptions: {maxLength: 20}}
      - {name: age, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 150}}
      - {name: born, logicalType: date}
roles:
  - {role: "people:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""


@dataclass
class Lab:
    """One product on one database."""

    settings: Settings
    urls: DatabaseUrls
    catalog: Catalog = field(init=False)
    # Kept from load to load, as a worker keeps them: compiled statements belong to them.
    prepared: tuple[Catalog, Any, Engine] | None = field(default=None, init=False)
    # Kept for keys that tests make, on the login that the service makes them with.
    writer: Engine | None = field(default=None, init=False)
    # Kept for what tests look up: to connect costs the server more than most queries.
    reader: psycopg.Connection | None = field(default=None, init=False)
    # Where tests share the product: what ends with the last of them, and the service that all of them ask.
    shared: ExitStack | None = field(default=None, init=False)
    address: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.catalog = load_catalog(self.settings)

    @classmethod
    def build(cls, folder: Path, urls: DatabaseUrls, *contracts: str, **settings: Any) -> Lab:
        """The product of these contracts' texts, not yet migrated."""
        (folder / "contracts").mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        for index, text in enumerate(contracts or (PEOPLE,)):
            (folder / "contracts" / f"contract{index}.odcs.yaml").write_text(dedent(text))
        # Tests ask more often than callers may.
        free = {"rate_limit_anonymous": "off", "rate_limit_default": "off"}
        folders = {name: folder / name for name in ("home", "contracts", "data", "reports")}
        chosen = free | folders | settings
        return cls(load_settings(**chosen), urls)

    @property
    def landing(self) -> Path:
        """The folder of raw batches."""
        return self.settings.home / LANDING

    def share(self, until: ExitStack) -> None:
        """From here on tests only read it: what would change it for the others is refused."""
        self.close()
        self.shared = until

    def close(self) -> None:
        """Closes the connections of loads, keys and lookups."""
        if self.prepared is not None:
            self.prepared[2].dispose()
        if self.writer is not None:
            self.writer.dispose()
        if self.reader is not None:
            self.reader.close()

    def check_own(self) -> None:
        """Fails where other tests read the same product."""
        assert self.shared is None, "other tests read this product: a test that changes it is marked `alone`"

    def migrate(self) -> None:
        """Brings the database to the contracts."""
        self.check_own()
        migrate(self.settings, self.urls.owner, self.catalog)

    def dataset(self, address: str) -> Dataset:
        """The dataset at an address."""
        return self.catalog.find(address)[0]

    def write(self, name: str, content: str | bytes) -> Path:
        """A file where the contract's server looks for it."""
        self.check_own()
        path = self.settings.data_folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def loader(self) -> Loader:
        """What loads; on the login of ingestion."""
        self.check_own()
        if self.prepared is None or self.prepared[0] is not self.catalog:
            tables = build_tables(self.catalog.products.values())
            self.prepared = (self.catalog, tables, self.keep_engine(self.urls.ingest))
        return Loader(self.settings, *self.prepared)

    def find_writer(self) -> Engine:
        """The engine of the service's second login."""
        self.writer = self.writer or self.keep_engine(self.urls.write)
        return self.writer

    def keep_engine(self, url: str) -> Engine:
        """An engine whose connections stay open as long as the product lasts."""
        engine = make_engine(url, keep=True)
        weakref.finalize(self, engine.dispose)
        return engine

    def ingest(self, address: str, content: str | bytes | None = None, name: str = "people.csv") -> LoadReport:
        """The report of one load, after writing the file where there is one."""
        if content is not None:
            self.write(name, content)
        return self.loader().run(self.dataset(address))

    def connect(self) -> psycopg.Connection:
        """A connection of the owner, who only reads where tests share the product."""
        connection = psycopg.connect(self.urls.owner, autocommit=True)
        if self.shared is not None:
            connection.execute("SET default_transaction_read_only = on")
        return connection

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a query gives the owner."""
        if threading.current_thread() is not threading.main_thread():
            # It may wait for what the test's own thread does next.
            with self.connect() as connection:
                return connection.execute(query.encode(), values or None).fetchall()
        if self.reader is None or self.reader.closed:
            self.reader = self.connect()
            weakref.finalize(self, self.reader.close)
        try:
            return self.reader.execute(query.encode(), values or None).fetchall()
        except psycopg.OperationalError:
            if not self.reader.broken:
                raise
            return self.rows(query, *values)  # somebody has ended its session since the last time

    @contextmanager
    def serve(self) -> Iterator[httpx.Client]:
        """A client of the running service; of a product that is shared there is one service."""
        with ExitStack() as stack:
            address = self.address or (self.shared or stack).enter_context(self.run_service())
            if self.shared is not None:
                self.address = address
            yield stack.enter_context(httpx.Client(base_url=address, timeout=CLIENT_SECONDS, verify=NO_TLS))

    @contextmanager
    def run_service(self) -> Iterator[str]:
        """The address of the service; a real server on a free port."""
        config = uvicorn.Config(
            create_app(self.settings, self.urls, self.catalog),
            host="127.0.0.1",
            port=0,
            log_level="warning",
            ws="none",
            proxy_headers=False,
        )
        with run_in_thread(config) as (host, port):
            yield f"http://{host}:{port}"


def land_bytes(folder: Path, content: bytes, name: str = "test") -> LandedPart:
    """Some content as a part of a batch in the landing zone."""
    path = folder / f"landed-{name}"
    path.write_bytes(content)
    return LandedPart(name, hashlib.sha256(content).hexdigest(), path, len(content))


def parse_bytes(
    folder: Path,
    *contents: bytes,
    file_format: FileFormat = FileFormat(),  # noqa: B008 - frozen
    needed: Sequence[str] = (),
    advance: Callable[[int], None] = lambda amount: None,
) -> ParsedBatch:
    """These contents cut, each a part of its own."""
    parts = tuple(land_bytes(folder, content, f"part-{index}") for index, content in enumerate(contents))
    return parse_batch(LandedBatch("test", parts), file_format, needed, folder, UnpackLimit(1 << 40), advance)


def walk(client: httpx.Client, url: str, most: int = 100_000) -> list[dict[str, Any]]:
    """Every record of a walk, by following `next`."""
    records: list[dict[str, Any]] = []
    following: str | None = url
    for _ in range(most):
        if following is None:
            return records
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        records += answer.json()["data"]
        following = answer.json()["next"]
    raise AssertionError("the walk did not end")
