"""Servers that raw data comes from, as the contract describes them. Frozen values; pure.

${VARIABLES} stay as they are written until the moment of reading: no secret is kept in a value, a digest or the
ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

WATERMARK_FORMATS = ("iso", "date", "epoch", "epochMillis")


@dataclass(frozen=True)
class Incremental:
    """How an input is asked for news only: from the highest published value of a property on."""

    property: str
    target: str  # the parameter of an API, the column of a database
    lag: float = 0  # how far before that value; seconds for moments, else in the property's own unit
    format: str | None = (
        None  # how the value is written, one of WATERMARK_FORMATS; as the property's type where left out
    )
    start: str | None = None  # what the first load asks for; everything where left out


@dataclass(frozen=True)
class Pagination:
    """How an API hands out its records page by page."""

    type: str  # "link", "cursor", "page" or "offset"
    param: str = ""  # what names the page
    size_param: str = ""
    size: int | None = None  # records that are asked for at once
    start: int = 0  # the number of the first page, or of the first record
    path: tuple[str, ...] = ()  # the keys that lead to the cursor, or to the address of the next page
    in_body: bool = False  # whether these parameters belong into the body
    until_short: bool = False  # whether a page of fewer records than asked for is the last one
    until_missing: bool = False  # whether a page without a list of records is an empty one
    max_pages: int = 10_000


@dataclass(frozen=True)
class HttpSource:
    """An HTTP API that is pulled."""

    location: str  # the server's address; nothing above it is ever asked
    path: str = ""  # below the location
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    body: str | None = None  # JSON
    pagination: Pagination | None = None
    retries: int = 4  # of one request, after the first time
    timeout: float = 300  # seconds for one answer, whole
    pause: float = 0  # seconds from one request to the next, at least
    own_encoding: bool = False  # whether the contract says the text's encoding, whatever the answer says

    @property
    def filled(self) -> tuple[str | None, ...]:
        """The texts whose variables are filled in."""
        pairs = (*self.headers, *self.params)
        return (self.location, self.path, self.body, *(text for _, text in pairs))

    @property
    def address(self) -> str:
        """What is asked, as the contract writes it."""
        return f"{self.location.rstrip('/')}/{self.path}" if self.path else self.location


@dataclass(frozen=True)
class DatabaseSource:
    """A table or a query of a database that SQLAlchemy reads."""

    server: str  # its name in the contract
    driver: str = ""  # such as postgresql+psycopg; empty where the whole URL is given
    url: str | None = None
    host: str | None = None
    port: str | None = None
    database: str | None = None
    user: str | None = None
    password: str | None = None
    schema: str | None = None
    table: str | None = None
    sql: str | None = None
    timeout: float = 1800  # seconds for the whole read

    @property
    def filled(self) -> tuple[str | None, ...]:
        """The texts whose variables are filled in."""
        return (self.url, self.host, self.port, self.database, self.user, self.password)

    @property
    def address(self) -> str:
        """What is read, without a word of where that is or who reads it."""
        name = f"{self.schema}.{self.table}" if self.schema and self.table else self.table
        return f"{name or 'a query'} of {self.server}"


@dataclass(frozen=True)
class BatchLimits:
    """Where a batch of a stream ends, at the latest; it ends earlier where the stream has no more."""

    records: int = 50_000
    bytes: int = 64 << 20
    seconds: float = 10


@dataclass(frozen=True)
class ReplicationSource:
    """The changes of a table of Postgres, by logical replication."""

    database: DatabaseSource
    publication: str
    slot: str
    keep_gb: float = 10  # of the source's log that the slot may keep from being removed, in 2^30 bytes
    batch: BatchLimits = BatchLimits()

    @property
    def filled(self) -> tuple[str | None, ...]:
        """The texts whose variables are filled in."""
        return self.database.filled

    @property
    def address(self) -> str:
        """What is read, without a word of where that is or who reads it."""
        return f"changes of {self.database.address}"


@dataclass(frozen=True)
class StreamSource:
    """Messages of a broker that can be read again: a topic of Kafka, or a stream of NATS JetStream."""

    broker: str  # "kafka" or "nats"
    server: str  # its name in the contract
    hosts: str  # host:port, several with commas between; of NATS its URLs
    topic: str  # Kafka: the topic; NATS: the stream
    subject: str | None = None  # NATS: which subjects of the stream, all where left out
    start: str = "earliest"  # where the first load begins: earliest, latest, or a moment in ISO 8601
    key: str | None = None  # the raw column that a message's key becomes
    on_gap: str = "fail"  # "fail", or "skip": go on from the earliest message that is left
    batch: BatchLimits = BatchLimits()
    user: str | None = None
    password: str | None = None
    token: str | None = None  # NATS
    tls: bool = False
    mechanism: str = "PLAIN"  # Kafka: how the user is authenticated
    ca: str | None = None  # the file of the certificate authority, where not one that the system trusts
    registry: str | None = None  # Kafka: the URL of the schema registry, for Avro

    @property
    def filled(self) -> tuple[str | None, ...]:
        """The texts whose variables are filled in."""
        return (self.hosts, self.topic, self.subject, self.user, self.password, self.token, self.ca, self.registry)

    @property
    def address(self) -> str:
        """What is read, without a word of where that is or who reads it."""
        subject = f" ({self.subject})" if self.subject else ""
        return f"{self.topic}{subject} of {self.server}"


@dataclass(frozen=True)
class BucketSource:
    """Objects in an S3-compatible store. Who may read them is only ever said by the environment (AWS_…)."""

    bucket: str
    folder: str = ""  # what all names are below
    endpoint: str | None = None  # of a store that is not AWS

    @property
    def filled(self) -> tuple[str | None, ...]:
        """The texts whose variables are filled in."""
        return (self.bucket, self.folder, self.endpoint)

    @property
    def address(self) -> str:
        """Where the objects lie, as the contract writes it."""
        return f"s3://{self.bucket}/{self.folder}".rstrip("/") + (f" at {self.endpoint}" if self.endpoint else "")
