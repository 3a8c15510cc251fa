"""Settings of loads, and of the worker that runs them and sends webhooks."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field, SecretStr

from runtime.settings.common_settings import CommonSettings
from runtime.settings.setting_types import Engine, EventBrokers, Networks


class WorkSettings(CommonSettings):
    """What loads may use, and how the worker goes about them."""

    duckdb_memory: Annotated[
        str,
        Field(
            description="Memory for cleaning one batch; the rest goes to disk. If not set: 1 MB more per column"
            " over 100."
        ),
    ] = "256MB"
    duckdb_threads: Annotated[int, Field(ge=1, description="Threads for cleaning one batch.")] = min(
        4, os.cpu_count() or 1
    )
    engine: Annotated[
        Engine,
        Field(
            description="What judges large batches: local, or a Spark cluster at spark://host:7077 or sc://host:15002."
        ),
    ] = "local"
    engine_from_bytes: Annotated[
        int, Field(ge=0, description="Size from which a raw batch is judged by ENGINE, in bytes, as it came.")
    ] = 512 * 2**20
    source_limit_bytes: Annotated[
        int, Field(ge=1, description="Maximum size of a raw batch, decompressed, in bytes.")
    ] = 20 * 2**30
    unpack_ratio: Annotated[
        int,
        Field(ge=1, description="Maximum compression ratio of a compressed source: gzip, zstd, zip, XLSX, Parquet."),
    ] = 100
    worker_concurrency: Annotated[int, Field(ge=1, description="Concurrent loads of one worker.")] = 2
    worker_stop_seconds: Annotated[
        float, Field(ge=0, description="Time that a stopping worker gives its loads to end, in seconds.")
    ] = 30.0
    worker_poll_seconds: Annotated[
        float, Field(gt=0, description="Interval at which a worker checks watched inputs, in seconds.")
    ] = 5.0
    webhook_networks: Annotated[
        Networks,
        Field(
            description="Networks beside public ones in which webhooks may be received, also over http, separated by"
            " commas. Development allows this machine."
        ),
    ] = ()
    event_brokers: Annotated[
        EventBrokers,
        Field(
            description="Brokers whose topics may get events, as JSON by name:"
            ' `{"bus": {"kind": "nats", "hosts": "nats://bus:4222"}}`; also `user`, `password`, `tls`, `mechanism`,'
            " `ca`.",
            default_factory=dict,
        ),
    ]
    subscriptions_limit: Annotated[
        int, Field(ge=0, description="Maximum subscriptions of one key and those that replaced it.")
    ] = 20
    smtp_url: Annotated[
        SecretStr | None,
        Field(
            description="Mail server of messages to `mailto:` channels, such as"
            " smtps://user:password@mail.example.org?from=decant@example.org."
        ),
    ] = None
