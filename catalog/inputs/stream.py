"""The `input` of a dataset that a topic of Kafka or a stream of NATS JetStream feeds."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

from open_data_contract_standard.model import Server

from catalog.document.custom_properties import read_custom_properties
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.inputs.file_format import build_file_format, check_variables
from catalog.inputs.incremental import count_errors, read_span
from catalog.inputs.permits import Permits
from catalog.inputs.variables import VARIABLE
from catalog.model.dataset import FileFormat, Input
from catalog.model.sources import BatchLimits, StreamSource

KAFKA, NATS = "kafka", "nats"
STREAM_KEYS = ("topic", "stream", "subject", "start", "key", "onGap", "batch")
COMMON_KEYS = ("server", "format", "mode", "nullValues", "orderBy", "deletes", "delimiter", "columns")
# What a stream's messages are called in contracts -> the format of the lines that they are kept in.
FORMATS = {"json": "ndjson", "cloudevents": "cloudevents", "debezium": "debezium", "csv": "csv", "avro": "ndjson"}
MODES = ("upsert", "append")
STARTS = ("earliest", "latest")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SERVER_PROPERTIES = {
    KAFKA: ("user", "password", "tls", "mechanism", "ca", "registry"),
    NATS: ("kind", "url", "user", "password", "token", "ca"),
}
HOST = r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
HOSTS = {KAFKA: re.compile(rf"{HOST}(,{HOST})*"), NATS: re.compile(rf"(nats|tls)://{HOST}(,(nats|tls)://{HOST})*")}
KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
NATS_NAME = re.compile(r"[^\s.*>/\\]{1,255}")
NATS_SUBJECT = re.compile(r"[^\s]{1,255}")


def build_stream_input(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input; None where it cannot be used. Variables stay as they are written until the moment of reading."""
    errors = count_errors(findings)
    broker = KAFKA if server.type == KAFKA else NATS
    check_keys(value, broker, trail, findings)
    if common.mode not in MODES:
        findings.error(
            trail, f"input.mode: {common.mode!r} would delete all that is not in the next batch of messages;"
            f" choose one of {', '.join(MODES)}",
        )  # fmt: skip
    name = str(value.get("format") or server.format or "json").lower()
    file_format = build_stream_format(name, value, server, trail, findings)
    custom = read_server(server, broker, trail, findings)
    source = StreamSource(
        broker=broker,
        server=str(server.server),
        hosts=read_hosts(server, custom, broker, trail, findings),
        topic=read_topic(value, broker, trail, findings),
        subject=read_text(value, "subject", NATS_SUBJECT, trail, findings),
        start=read_start(value.get("start", "earliest"), trail, findings),
        key=read_text(value, "key", re.compile(r".{1,255}"), trail, findings),
        on_gap=read_choice(value.get("onGap", "fail"), ("fail", "skip"), "onGap", trail, findings),
        batch=read_limits(value.get("batch"), trail, findings),
        user=custom.get("user"),
        password=custom.get("password"),
        token=custom.get("token"),
        tls=custom.get("tls") == "true",
        mechanism=read_choice(custom.get("mechanism", "PLAIN"), MECHANISMS, "mechanism", trail, findings),
        ca=custom.get("ca"),
        registry=custom.get("registry"),
    )
    if name == "avro" and source.registry is None:
        findings.error(trail, "input.format: avro needs the custom property registry of its server, the URL of one")
    check_variables(source.filled, permits, trail, findings)
    if file_format is None or count_errors(findings) > errors:
        return None
    return replace(common, kind="stream", file_format=file_format, source=source, watch=True)


def check_keys(value: YamlMapping, broker: str, trail: YamlPath, findings: Findings) -> None:
    """Errors for keys that mean nothing to a stream of this broker."""
    foreign = ("stream", "subject") if broker == KAFKA else ("topic",)
    known = [key for key in (*COMMON_KEYS, *STREAM_KEYS) if key not in foreign]
    for key in value:
        if key not in known:
            findings.error(trail, f"input.{key}: does not apply to {broker}; known are {', '.join(known)}")


def build_stream_format(
    name: str, value: YamlMapping, server: Server, trail: YamlPath, findings: Findings
) -> FileFormat | None:
    """How the lines that messages are kept in are parsed; None where it cannot be done."""
    if name not in FORMATS:
        findings.error(trail, f"input.format: {name!r} is not supported for a stream; it can be {', '.join(FORMATS)}")
        return None
    if name == "csv" and value.get("columns") is None:
        findings.error(trail, "input.columns: must be the names of the columns, since a message has no header")
        return None
    if name == "csv" and value.get("key") is not None:
        findings.error(trail, "input.key: needs a format of JSON")
        return None
    return build_file_format(value | {"format": FORMATS[name]}, server, trail, findings)


def read_server(server: Server, broker: str, trail: YamlPath, findings: Findings) -> dict[str, str]:
    """The server's custom properties as texts; an error for a secret that is written in the contract."""
    found = read_custom_properties(server.customProperties, trail, findings, "server")
    known = SERVER_PROPERTIES[broker]
    custom: dict[str, str] = {}
    for name, text in found.items():
        if name not in known:
            findings.error(trail, f"input.server: {name} does not apply to {broker}; known are {', '.join(known)}")
        elif name == "tls":
            if not isinstance(text, bool):
                findings.error(trail, "input.server: its custom property tls must be true or false")
            custom[name] = str(text).lower()
        elif not isinstance(text, str) or not text.strip():
            findings.error(trail, f"input.server: its custom property {name} must be a text")
        else:
            custom[name] = text.strip()
    for name in ("password", "token"):
        if name in custom and not VARIABLE.search(custom[name]):
            findings.error(
                trail, f"input.server: must not contain a {name}; use ${{VARIABLE}} and set the environment variable"
            )
    return custom


def read_hosts(server: Server, custom: dict[str, str], broker: str, trail: YamlPath, findings: Findings) -> str:
    """Where the broker is."""
    hosts = str(server.host or "") if broker == KAFKA else custom.get("url", "")
    if broker == KAFKA and server.port and ":" not in hosts and not VARIABLE.search(hosts):
        hosts = f"{hosts}:{server.port}"
    if not VARIABLE.search(hosts) and not HOSTS[broker].fullmatch(hosts):
        where = "host host:port" if broker == KAFKA else "the custom property url nats://host:port"
        findings.error(trail, f"input.server: needs {where}, several with commas between; it has {hosts!r}")
    return hosts


def read_topic(value: YamlMapping, broker: str, trail: YamlPath, findings: Findings) -> str:
    """The topic of Kafka, or the stream of NATS."""
    key, pattern = ("topic", KAFKA_NAME) if broker == KAFKA else ("stream", NATS_NAME)
    name = value.get(key)
    if not isinstance(name, str) or not (VARIABLE.search(name) or pattern.fullmatch(name)):
        findings.error(trail, f"input.{key}: must be the name of a {key}")
        return ""
    return name


def read_text(
    value: YamlMapping, key: str, pattern: re.Pattern[str], trail: YamlPath, findings: Findings
) -> str | None:
    """A text of the input; None where it is left out."""
    text = value.get(key)
    if text is not None and (not isinstance(text, str) or not pattern.fullmatch(text)):
        findings.error(trail, f"input.{key}: {text!r} is not valid")
    return text if isinstance(text, str) else None


def read_start(value: YamlNode, trail: YamlPath, findings: Findings) -> str:
    """Where the first load begins: earliest, latest, or a moment in ISO 8601 with its offset."""
    if value in STARTS:
        return str(value)
    moment = value if isinstance(value, datetime) else None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if moment is None or moment.tzinfo is None:
        findings.error(trail, f"input.start: must be {', '.join(STARTS)}, or a moment such as 2026-01-31T00:00:00Z")
        return STARTS[0]
    return moment.astimezone(UTC).isoformat()


def read_choice(value: YamlNode, known: tuple[str, ...], key: str, trail: YamlPath, findings: Findings) -> str:
    """One of several words."""
    if value not in known:
        findings.error(trail, f"input.{key}: {value!r} is not one of {', '.join(known)}")
        return known[0]
    return str(value)


def read_limits(value: YamlNode, trail: YamlPath, findings: Findings) -> BatchLimits:
    """Where a batch ends."""
    limits = BatchLimits()
    if value is None:
        return limits
    known = ("records", "bytes", "seconds")
    if not isinstance(value, dict) or any(key not in known for key in value):
        findings.error(trail, f"input.batch: must be a mapping of {', '.join(known)}")
        return limits
    records, size = value.get("records", limits.records), value.get("bytes", limits.bytes)
    seconds = read_span(value.get("seconds", limits.seconds))
    for name, number, most in (("records", records, 1_000_000), ("bytes", size, 1 << 30)):
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
            findings.error(trail, f"input.batch.{name}: must be a number from 1 to {most:,}")
            return limits
    if seconds is None or not 0.1 <= seconds <= 600:
        findings.error(trail, "input.batch.seconds: must be from 0.1 to 600")
        return limits
    return BatchLimits(int(str(records)), int(str(size)), seconds)
