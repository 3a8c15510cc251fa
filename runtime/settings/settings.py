"""Settings: the DECANT_* variables, read once and then frozen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

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
    Contact,
    Networks,
    RateText,
    TextList,
    TokenIssuers,
)
from runtime.settings.work_settings import WorkSettings

PROJECT_ROOT = Path(__file__).resolve().parents[2]


class Settings(WorkSettings):
    """Every setting, its default and its unit. Each is the variable DECANT_<NAME>."""

    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on.")] = 8000
    public_url: Annotated[
        str | None, Field(description="Public URL of the service, for absolute links; default: relative links.")
    ] = None

    token_issuers: Annotated[
        TokenIssuers,
        Field(description="Issuers of accepted JWT access tokens: a JSON list of objects with issuer and audience."),
    ] = ()

    key_line_days: Annotated[
        int,
        Field(
            ge=0, description="Days in which holders may rotate their key, from the first of its line; 0: no limit."
        ),
    ] = 1095

    rate_limit_anonymous: Annotated[
        RateText, Field(description="Rate limit of one address without a credential, such as 600/minute, or off.")
    ] = "1200/minute"
    rate_limit_default: Annotated[
        RateText, Field(description="Rate limit of one key or token without a limit of its own, or off.")
    ] = "6000/minute"
    trusted_proxies: Annotated[
        Networks,
        Field(description="Networks of proxies whose X-Forwarded-For is trusted, separated by commas."),
    ] = ()

    cors_origins: Annotated[
        TextList,
        Field(description="Origins that CORS allows, such as https://app.example, separated by commas; or *."),
    ] = ()

    url_limit_bytes: Annotated[int, Field(ge=256, description="Maximum length of a request's URL, in bytes.")] = 8192
    header_limit_bytes: Annotated[
        int, Field(ge=1024, description="Maximum size of all headers of a request, in bytes.")
    ] = 16_384
    body_limit_bytes: Annotated[
        int, Field(ge=0, description="Maximum size of a body other than pushed events, in bytes.")
    ] = 1_000_000
    header_timeout_seconds: Annotated[
        float, Field(gt=0, description="Time limit for receiving the headers of a request, in seconds.")
    ] = 10.0
    body_timeout_seconds: Annotated[
        float, Field(gt=0, description="Time limit for receiving the body of a request, in seconds.")
    ] = 30.0

    connections_limit: Annotated[
        int | None,
        Field(ge=16, description="Maximum client connections, per process; the limit on open files may lower it."),
    ] = None
    send_timeout_seconds: Annotated[
        float, Field(gt=0, description="Time until a client that reads nothing is disconnected, in seconds.")
    ] = 30.0
    send_caller_bytes: Annotated[
        int, Field(ge=1, description="Unsent answers of one caller, per process, in bytes.")
    ] = 32 * 2**20
    send_bytes: Annotated[
        int, Field(ge=1, description="Unsent answers of all callers together, per process, in bytes.")
    ] = 256 * 2**20

    followers_limit: Annotated[int, Field(ge=1, description="Maximum open streams of revisions, per process.")] = 1000
    followers_of_principal: Annotated[
        int, Field(ge=1, description="Maximum open streams of one key or token, per process.")
    ] = 50
    followers_of_address: Annotated[
        int, Field(ge=1, description="Maximum open streams of one address without a credential, per process.")
    ] = 20

    access_log: Annotated[bool, Field(description="Whether `decant serve` logs each request.")] = True
    security_contact: Annotated[
        Contact | None,
        Field(description="Contact for security reports (/.well-known/security.txt): mailto:, https: or tel:."),
    ] = None

    metrics_open: Annotated[
        bool, Field(description="Whether /metrics is open; otherwise it needs the scope ops:read.")
    ] = False

    read_pool_size: Annotated[int, Field(ge=1, description="Database connections for reads, per process.")] = 8
    query_timeout_ms: Annotated[int, Field(ge=1, description="Time limit of one read, in milliseconds.")] = 2000
    query_temp_mb: Annotated[
        int, Field(ge=1, description="Temporary disk space of one read, in MB, where its login may set this limit.")
    ] = 256
    pool_timeout_ms: Annotated[
        int, Field(ge=1, description="Time that a read waits for a database connection, in milliseconds.")
    ] = 2000

    cache_bytes: Annotated[
        int, Field(ge=0, description="Memory for cached answers, per process, in bytes; 0: no cache.")
    ] = 64 * 2**20

    exports_at_once: Annotated[
        int, Field(ge=1, description="Concurrent exports, per process; one caller may use half of them.")
    ] = 4
    export_timeout_seconds: Annotated[
        float, Field(gt=0, description="Time limit of one export, sending included, in seconds.")
    ] = 600.0
    export_cache_bytes: Annotated[
        int, Field(ge=0, description="Disk space for cached Parquet exports, in bytes; least recently used go first.")
    ] = 10 * 2**30

    write_pool_size: Annotated[
        int, Field(ge=1, description="Database connections for pushed events, keys and requests, per process.")
    ] = 4
    events_limit_bytes: Annotated[
        int, Field(ge=1, description="Maximum size of a body of pushed events, decompressed, in bytes.")
    ] = 10_000_000
    events_memory_bytes: Annotated[
        int, Field(ge=1, description="Memory for bodies of pushed events, per process, in bytes.")
    ] = 64 * 2**20

    lock_timeout_ms: Annotated[
        int, Field(ge=1, description="Time that a migration waits for a lock, in milliseconds.")
    ] = 10_000

    @property
    def data_folder(self) -> Path:
        """The value of ${DECANT_DATA}."""
        return self.data if self.data is not None else self.home / "data"

    @property
    def known_folder(self) -> Path:
        """The folder of records of current revisions, to compare the next batch with."""
        return self.home / "known"

    @property
    def high_water_folder(self) -> Path:
        """The folder of the revisions that this host has seen published."""
        return self.home / "high-water"

    @property
    def exports_folder(self) -> Path:
        """The folder of cached exports."""
        return self.home / "exports"

    @property
    def work_folder(self) -> Path:
        """The folder of a running load's temporary files."""
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
    """SettingsError where valid settings contradict each other, or are not safe in production."""
    in_production = settings.env == "production"
    check_issuers(settings.token_issuers, in_production=in_production)
    if in_production:
        check_known(Settings.model_fields)
    check_pepper_versions(settings.peppers)
    if in_production:
        check_production(settings.secret, settings.peppers, settings.database_url)


def unknown_variables() -> Iterator[str]:
    """An error for each variable DECANT_… of the environment that is no setting."""
    return find_unknown(Settings.model_fields)
