"""Settings: everything that DECANT_* variables decide, read once and then frozen."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SECRET_BYTES = 32


class Settings(BaseSettings):
    """Every setting, its default and its unit. Each is the variable DECANT_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="DECANT_", frozen=True, extra="ignore")

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
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on.")] = 8000
    public_url: Annotated[
        str | None, Field(description="Makes links absolute; without it they are relative to the host.")
    ] = None

    metrics_open: Annotated[
        bool, Field(description="Whether /metrics needs no credential; otherwise it needs the scope ops:read.")
    ] = False

    read_pool_size: Annotated[int, Field(ge=1, description="Connections for reading, per process.")] = 8
    query_timeout_ms: Annotated[int, Field(ge=1, description="How long one read may take, in milliseconds.")] = 2000
    pool_timeout_ms: Annotated[
        int, Field(ge=1, description="How long a read waits for a connection, in milliseconds.")
    ] = 2000

    cache_bytes: Annotated[
        int, Field(ge=0, description="Memory for finished answers, per process, in bytes; 0: every answer is read.")
    ] = 64 * 2**20

    exports_at_once: Annotated[int, Field(ge=1, description="Exports that run at a time, per process.")] = 2
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

    duckdb_memory: Annotated[str, Field(description="Memory for cleaning one batch; more goes to disk.")] = "256MB"
    duckdb_threads: Annotated[int, Field(ge=1, description="Threads for cleaning one batch.")] = min(
        4, os.cpu_count() or 1
    )
    source_limit_bytes: Annotated[int, Field(ge=1, description="The largest raw batch, unpacked, in bytes.")] = (
        20 * 2**30
    )
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
        lines = [f"DECANT_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("\n".join(lines)) from None
    if settings.env == "production":
        if settings.secret is None or len(settings.secret.get_secret_value()) < SECRET_BYTES:
            raise SettingsError(f"DECANT_SECRET must hold at least {SECRET_BYTES} characters in production.")
        if settings.database_url is None or not settings.database_url.get_secret_value():
            raise SettingsError(
                "DECANT_DATABASE_URL must be set in production: the embedded Postgres is for development."
            )
    return settings


def read_secret(settings: Settings) -> bytes:
    """The secret that signs cursors and hashes keys; made on first use where none is set."""
    if settings.secret is not None:
        return hashlib.sha256(settings.secret.get_secret_value().encode()).digest()
    path = settings.home / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written beside and linked into place: of two processes that start at once, one wins, whole.
        draft = path.with_name(f"secret.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(SECRET_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return hashlib.sha256(path.read_bytes()).digest()
