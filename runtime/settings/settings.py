"""Settings: everything that DECANT_* variables decide, read once and then frozen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import SettingsError
from runtime.settings.checks import (
    check_issuers,
    check_known,
    check_pepper_versions,
    check_production,
    explain_errors,
    find_unknown,
)
from runtime.settings.setting_types import (
    Buckets,
    Contact,
    Networks,
    PeppersByVersion,
    RateText,
    Roots,
    TextList,
    TokenIssuers,
    Variables,
)
from runtime.settings.values import OWN_PREFIX

PROJECT_ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Every setting, its default and its unit. Each is the variable DECANT_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=OWN_PREFIX, frozen=True, extra="ignore")

    env: Annotated[
        Literal["development", "production"],
        Field(description="Production refuses defaults that are unsafe."),
    ] = "development"
    home: Annotated[
        Path, Field(description="Where Decant keeps its own files: landing zone, secret, embedded Postgres.")
    ] = Path(".decant")
    contracts: Annotated[Path, Field(description="The folder of contracts, or one contract file.")] = Path(
        "contracts"
    )
    data: Annotated[Path | None, Field(description="What ${DECANT_DATA} means in contracts; default: HOME/data.")] = (
        None
    )

    input_variables: Annotated[
        Variables,
        Field(
            description="Variables that contracts may fill in, by product: `shop=SHOP_TOKEN,SHOP_URL;*=REGION`."
            " Development leaves all open that are not Decant's own."
        ),
    ] = {}
    input_roots: Annotated[
        Roots,
        Field(
            description="Folders that contracts may read files below, by product: `shop=/srv/shop;*=/srv/shared`."
            " The data folder is open to all, in development also the working folder."
        ),
    ] = {}

    input_buckets: Annotated[
        Buckets,
        Field(
            description="Buckets, or folders there, that contracts may read with this machine's credentials, by"
            " product: `shop=s3://lake/shop;*=https://minio.example/shared`. Development leaves all open."
        ),
    ] = {}

    database_url: Annotated[
        SecretStr | None, Field(description="The owner's login: migrations. Not set: the embedded Postgres.")
    ] = None
    ingest_database_url: Annotated[
        SecretStr | None, Field(description="The login of ingestion; default: DATABASE_URL.")
    ] = None
    read_database_url: Annotated[
        SecretStr | None, Field(description="The API's read login, a replica allowed; default: DATABASE_URL.")
    ] = None
    write_database_url: Annotated[
        SecretStr | None, Field(description="The API's login for keys; default: DATABASE_URL.")
    ] = None

    secret: Annotated[
        SecretStr | None,
        Field(description="Signs cursors and hashes keys. Not set: made once and kept in HOME/secret."),
    ] = None
    peppers: Annotated[
        PeppersByVersion,
        Field(description="What new keys are hashed with instead, as JSON: the highest version counts."),
    ] = {}
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on.")] = 8000
    public_url: Annotated[
        str | None, Field(description="Makes links absolute; without it they are relative to the host.")
    ] = None

    token_issuers: Annotated[
        TokenIssuers,
        Field(description="Whose JWT access tokens are taken: a JSON list of objects with issuer and audience."),
    ] = ()

    key_line_days: Annotated[
        int, Field(ge=0, description="For how long a key may be renewed by its holder, in days; 0: for ever.")
    ] = 1095

    rate_limit_anonymous: Annotated[
        RateText, Field(description="How often one address may ask without a credential, such as 600/minute, or off.")
    ] = "1200/minute"
    rate_limit_default: Annotated[
        RateText, Field(description="How often one key or token may ask, unless it has a limit of its own; or off.")
    ] = "6000/minute"
    trusted_proxies: Annotated[
        Networks,
        Field(description="Networks of proxies whose X-Forwarded-For counts, separated by commas."),
    ] = ()

    cors_origins: Annotated[
        TextList,
        Field(description="Origins whose pages may read, such as https://app.example, separated by commas; or *."),
    ] = ()

    url_limit_bytes: Annotated[int, Field(ge=256, description="The longest address, in bytes.")] = 8192
    header_limit_bytes: Annotated[int, Field(ge=1024, description="The longest headers together, in bytes.")] = 16_384
    body_limit_bytes: Annotated[
        int, Field(ge=0, description="The largest body but that of pushed events, in bytes.")
    ] = 1_000_000
    header_timeout_seconds: Annotated[
        float, Field(gt=0, description="How long the headers of a request may take to come, in seconds.")
    ] = 10.0
    body_timeout_seconds: Annotated[
        float, Field(gt=0, description="How long the body of a request may take to come, in seconds.")
    ] = 30.0

    connections_limit: Annotated[
        int | None,
        Field(ge=16, description="Connections at a time, per process; at most what the limit on open files allows."),
    ] = None
    send_timeout_seconds: Annotated[
        float, Field(gt=0, description="How long a reader may take nothing of its answer, in seconds.")
    ] = 30.0
    send_caller_bytes: Annotated[
        int, Field(ge=1, description="Answers that may wait for the readers of one caller, per process, in bytes.")
    ] = 32 * 2**20
    send_bytes: Annotated[
        int, Field(ge=1, description="Answers that may wait for all readers together, per process, in bytes.")
    ] = 256 * 2**20

    access_log: Annotated[
        bool, Field(description="Whether `decant serve` writes a line of the log for each request.")
    ] = True
    security_contact: Annotated[
        Contact | None,
        Field(description="Whom to tell of weaknesses (/.well-known/security.txt): mailto:, https: or tel:."),
    ] = None

    metrics_open: Annotated[
        bool, Field(description="Whether /metrics needs no credential; otherwise it needs the scope ops:read.")
    ] = False

    read_pool_size: Annotated[int, Field(ge=1, description="Connections for reading, per process.")] = 8
    query_timeout_ms: Annotated[int, Field(ge=1, description="How long one read may take, in milliseconds.")] = 2000
    query_temp_mb: Annotated[
        int, Field(ge=1, description="Temporary space that one read may use, where its login may set that; in MB.")
    ] = 256
    pool_timeout_ms: Annotated[
        int, Field(ge=1, description="How long a read waits for a connection, in milliseconds.")
    ] = 2000

    cache_bytes: Annotated[
        int, Field(ge=0, description="Memory for finished answers, per process, in bytes; 0: every answer is read.")
    ] = 64 * 2**20

    exports_at_once: Annotated[
        int, Field(ge=1, description="Exports that run at a time, per process; one caller has half of them.")
    ] = 4
    export_timeout_seconds: Annotated[
        float, Field(gt=0, description="How long one export may take, its reader included, in seconds.")
    ] = 600.0
    export_cache_bytes: Annotated[
        int, Field(ge=0, description="Disk for finished Parquet exports; those unused the longest go, in bytes.")
    ] = 10 * 2**30

    write_pool_size: Annotated[
        int, Field(ge=1, description="Connections for pushed events, keys and requests, per process.")
    ] = 4
    events_limit_bytes: Annotated[
        int, Field(ge=1, description="The largest body of pushed events, unpacked, in bytes.")
    ] = 10_000_000
    events_memory_bytes: Annotated[
        int, Field(ge=1, description="Bodies of pushed events that are held at a time, per process, in bytes.")
    ] = 64 * 2**20

    duckdb_memory: Annotated[
        str,
        Field(
            description="Memory for cleaning one batch; more goes to disk. Left out: 1 MB more per column above 100."
        ),
    ] = "256MB"
    duckdb_threads: Annotated[int, Field(ge=1, description="Threads for cleaning one batch.")] = min(
        4, os.cpu_count() or 1
    )
    source_limit_bytes: Annotated[int, Field(ge=1, description="The largest raw batch, unpacked, in bytes.")] = (
        20 * 2**30
    )
    unpack_ratio: Annotated[
        int,
        Field(
            ge=1,
            description="How many times its size a packed source may unpack to: gzip, zstd, zip, XLSX, Parquet.",
        ),
    ] = 100
    worker_concurrency: Annotated[int, Field(ge=1, description="Loads that one worker runs at a time.")] = 2
    worker_stop_seconds: Annotated[
        float, Field(ge=0, description="How long a worker that is told to stop lets its loads go on, in seconds.")
    ] = 30.0
    worker_poll_seconds: Annotated[
        float, Field(gt=0, description="How often a worker looks at watched inputs, in seconds.")
    ] = 5.0
    lock_timeout_ms: Annotated[
        int, Field(ge=1, description="How long a migration waits for a lock, in milliseconds.")
    ] = 10_000

    @property
    def data_folder(self) -> Path:
        """What ${DECANT_DATA} stands for."""
        return self.data if self.data is not None else self.home / "data"

    @property
    def landing_folder(self) -> Path:
        """Where raw batches are kept under their SHA-256."""
        return self.home / "landing"

    @property
    def known_folder(self) -> Path:
        """Where records of current revisions are kept, to compare the next batch with."""
        return self.home / "known"

    @property
    def high_water_folder(self) -> Path:
        """Where this host keeps which revisions it has seen published."""
        return self.home / "high-water"

    @property
    def exports_folder(self) -> Path:
        """Where finished exports are kept."""
        return self.home / "exports"

    @property
    def work_folder(self) -> Path:
        """Where a running load keeps its temporary files."""
        return self.home / "work"


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment, with `overrides` on top; SettingsError names each bad variable."""
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("\n".join(explain_errors(error))) from None
    check_together(settings)
    return settings


def check_together(settings: Settings) -> None:
    """SettingsError where settings that are valid each do not fit together, or are not safe in production."""
    in_production = settings.env == "production"
    check_issuers(settings.token_issuers, in_production=in_production)
    if in_production:
        check_known(Settings.model_fields)
    check_pepper_versions(settings.peppers)
    if in_production:
        check_production(settings.secret, settings.peppers, settings.database_url)


def unknown_variables() -> Iterator[str]:
    """What is wrong with each variable DECANT_… of the environment that no setting is read from."""
    return find_unknown(Settings.model_fields)
