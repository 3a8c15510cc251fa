"""The addresses of databases that contracts read: put together from their parts, and what they may not be.

No file outside of the product's folders, nothing that the machine knows of other logins, and never Decant's own
database. The last is found here by its address alone, where that says it; each load asks the database itself.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from catalog.inputs.permits import Permits
from catalog.inputs.variables import VARIABLE
from catalog.model.sources import DatabaseSource
from runtime.settings.settings import Settings

# Databases that are files: which one is read is decided by DECANT_INPUT_ROOTS, as for other files.
FILE_BACKENDS = ("sqlite", "duckdb")
# The parameters that a contract itself may write behind the ? of a URL. Others can make a driver read files of this
# machine, its other logins or libraries: those have to come out of a variable that holds the whole URL.
# fmt: off
PARAMETERS = frozenset((
    "host", "hostaddr", "port", "dbname", "user", "sslmode", "sslrootcert", "channel_binding", "gssencmode",
    "application_name", "connect_timeout", "options", "target_session_attrs", "load_balance_hosts", "keepalives",
    "keepalives_idle", "keepalives_interval", "keepalives_count", "client_encoding", "charset", "read_timeout",
    "driver", "encrypt", "trustservercertificate", "applicationintent", "multisubnetfailover", "service_name", "sid",
))
# fmt: on
DRIVER_NAME = re.compile(r"[A-Za-z0-9 ._()-]+")  # of ODBC: a path would be a library to load
LOCAL_HOSTS = ("", "localhost", "localhost.localdomain", "::1")
DatabaseAddress = tuple[str, str, str]  # host, port and name of a database


class SourceUrlError(ValueError):
    """The database may not be read; the message says why."""


def make_source_url(source: DatabaseSource, expand: Callable[[str], str]) -> sa.URL:
    """The database's URL, its variables filled in; ValueError or SQLAlchemy's ArgumentError where it is none."""

    def part(text: str | None) -> str | None:
        return expand(text) if text else None

    if source.url is None:
        url = sa.URL.create(
            source.driver,
            username=part(source.user),
            password=part(source.password),
            host=part(source.host),
            port=int(part(source.port) or 0) or None,
            database=part(source.database),
        )
    else:
        url = sa.make_url(expand(source.url))
    return url.set(drivername="postgresql+psycopg") if url.drivername in {"postgresql", "postgres"} else url


def check_source_url(url: sa.URL, source: DatabaseSource, permits: Permits) -> None:
    """SourceUrlError where the database may not be read."""
    whole = VARIABLE.fullmatch(source.url or "")
    for name, value in () if whole else url.query.items():
        if name.lower() not in PARAMETERS or (name.lower() == "driver" and not DRIVER_NAME.fullmatch(str(value))):
            raise SourceUrlError(
                f"has a parameter {name} that is not allowed in a contract: put the whole URL into a variable"
            )
    if url.get_backend_name() in FILE_BACKENDS:
        if not url.database or url.database.startswith(("file:", ":")):
            raise SourceUrlError("must be a file that exists")
        if problem := permits.refuse_path(url.database):
            raise SourceUrlError(f"is not permitted: {problem}")
    elif url.get_backend_name() == "postgresql" and addresses_of(read_url(url)) & own_addresses(permits.settings):
        raise SourceUrlError("is Decant's own database, which contracts must not read")


def own_addresses(settings: Settings) -> set[DatabaseAddress]:
    """Where Decant's own database is, by each of its logins; nothing where it is the embedded one."""
    texts = (
        settings.database_url,
        settings.ingest_database_url,
        settings.read_database_url,
        settings.write_database_url,
    )
    database_addresses: set[DatabaseAddress] = set()
    for text in texts:
        if text is not None and text.get_secret_value():
            try:
                facts = conninfo_to_dict("postgresql://" + text.get_secret_value().partition("://")[2])
            except psycopg.ProgrammingError:
                continue
            database_addresses.update(addresses_of(facts))
    return database_addresses


def read_url(url: sa.URL) -> dict[str, object]:
    """The parts of a URL of SQLAlchemy by libpq's names; the part after the ? wins, as it does for the driver."""
    facts: dict[str, object] = {"host": url.host, "port": url.port, "dbname": url.database, "user": url.username}
    listed = {name: ",".join([value] if isinstance(value, str) else value) for name, value in url.query.items()}
    hosts = listed.get("host", "")
    if ":" in hosts and "port" not in listed and not hosts.startswith("/"):
        # SQLAlchemy's own way to write several hosts: host=one:5432&host=other:5433.
        pairs = [host.rpartition(":") if ":" in host else (host, "", "") for host in hosts.split(",")]
        listed |= {"host": ",".join(pair[0] for pair in pairs), "port": ",".join(pair[2] for pair in pairs)}
    return facts | listed


def addresses_of(facts: Mapping[str, object]) -> set[DatabaseAddress]:
    """Host, port and database of each server that a connection may be made to."""
    user = str(facts.get("user") or os.environ.get("PGUSER", ""))
    database = str(facts.get("dbname") or os.environ.get("PGDATABASE", user))
    ports = split(facts.get("port") or os.environ.get("PGPORT", "5432"))
    hosts, addresses = (split(facts[name]) if facts.get(name) else [] for name in ("host", "hostaddr"))
    database_addresses = set()
    for listed in (hosts, addresses) if hosts or addresses else (split(os.environ.get("PGHOST", "")),):
        for index, host in enumerate(listed):
            port = ports[index] if len(ports) == len(listed) else ports[0]
            database_addresses.add((plain_host(host), port or "5432", database))
    return database_addresses


def split(value: object) -> list[str]:
    """The members of a list that commas separate."""
    return [part.strip() for part in str(value).split(",")]


def plain_host(host: str) -> str:
    """The host in one spelling; this machine under all its names as one, but for sockets."""
    host = host.lower().rstrip(".").strip("[]")
    if host in LOCAL_HOSTS or host.startswith("127.") or host == socket.gethostname().lower():
        return "localhost"
    return host
