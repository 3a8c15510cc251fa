"""How long a key takes to be judged, good and bad: `python -m bench.key_timing [--calls 10000] [--strings 1000000]`.

Promised: who has the id of a key and guesses at its secret learns nothing from the time that a refusal takes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import string
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from api.auth.api_keys import (
    ID_CHARACTERS,
    KEY_PREFIX,
    SECRET_CHARACTERS,
    Peppers,
    checksum,
    create_key,
    generate,
    parse_key,
)
from api.auth.authenticator import Authenticator
from api.auth.jwt import TokenVerifier
from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from runtime.postgres.database import ROLES, DatabaseUrls, create_roles, make_engine
from runtime.postgres.embedded_postgres import run_embedded
from runtime.postgres.poolers import ConnectionPool
from runtime.postgres.pools import make_write_pool
from runtime.settings.secret import read_secret
from runtime.settings.settings import PROJECT_ROOT, Settings, load_settings

CALLS = 10_000
STRINGS = 1_000_000
TOLERANCE = 0.05  # of the medians of a valid key and of one with a wrong secret
GIST = 0.95  # of the random texts that look like keys: with the prefix, the lengths and the alphabet of one
ALPHABET = string.ascii_letters + string.digits


@contextmanager
def open_keys() -> Iterator[tuple[Settings, DatabaseUrls]]:
    """A database whose tables are empty; afterwards nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="decant-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the user that root drops to must pass
        settings = load_settings(home=folder / "home", contracts=PROJECT_ROOT / "contracts", database_url=None)
        with run_embedded(folder / "postgres", share=False) as server:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                create_roles(connection)
            urls = DatabaseUrls(server.url(), *(server.url(user=role) for role in ROLES))
            migrate(settings, urls.owner, load_catalog(settings), revise=False)
            yield settings, urls


def spell_key(key_id: str, secret: str) -> str:
    """A key with the right checksum."""
    return f"{KEY_PREFIX}{key_id}_{secret}{checksum(key_id, secret)}"


def make_texts(settings: Settings, urls: DatabaseUrls) -> dict[str, str]:
    """A key of each kind, all well formed."""
    engine, pepper = make_engine(urls.owner), read_secret(settings)
    valid = create_key(engine, pepper, "valid", ["ops:read"])
    revoked = create_key(engine, pepper, "revoked", ["ops:read"])
    expired = create_key(engine, pepper, "expired", ["ops:read"], datetime.now(UTC) - timedelta(hours=1))
    with psycopg.connect(urls.owner) as connection:
        connection.execute("UPDATE decant.api_keys SET revoked_at = now() WHERE name = 'revoked'")
    parsed = parse_key(valid)
    if parsed is None:
        raise AssertionError  # a key that was just made is well formed
    return {
        "valid": valid,
        "wrong secret": spell_key(parsed.id, generate(SECRET_CHARACTERS)),
        "first half right": spell_key(parsed.id, parsed.secret[:16] + generate(SECRET_CHARACTERS - 16)),
        "unknown id": spell_key(generate(ID_CHARACTERS), parsed.secret),
        "revoked": revoked,
        "expired": expired,
    }


async def time_calls(settings: Settings, urls: DatabaseUrls, texts: dict[str, str], calls: int) -> dict[str, float]:
    """The median of each kind's calls in microseconds; the kinds take turns, in a new order each time."""
    taken: dict[str, list[int]] = {kind: [] for kind in texts}
    order, source = list(texts), random.Random(7)
    async with make_write_pool(urls.write, settings) as pool:
        await pool.open(wait=True)
        authenticator = make_authenticator(settings, pool)
        for _ in range(calls):
            source.shuffle(order)
            for kind in order:
                began = time.perf_counter_ns()
                await authenticator.verify_key(texts[kind])
                taken[kind].append(time.perf_counter_ns() - began)
    return {kind: median(values) / 1000 for kind, values in taken.items()}


def make_authenticator(settings: Settings, pool: ConnectionPool) -> Authenticator:
    """What judges keys in the service, with nobody's tokens."""
    return Authenticator(pool, Peppers(((1, read_secret(settings)),)), TokenVerifier(()))


def count_taken(strings: int) -> int:
    """How many random texts are taken for keys; most of them look like some."""
    source = random.Random(7)
    taken = 0
    for _ in range(strings):
        if source.random() < GIST:
            letters = "".join(source.choices(ALPHABET, k=ID_CHARACTERS + SECRET_CHARACTERS + 6))
            text = f"{KEY_PREFIX}{letters[:ID_CHARACTERS]}_{letters[ID_CHARACTERS:]}"
        else:
            text = "".join(source.choices(string.printable, k=source.randrange(80)))
        taken += parse_key(text) is not None
    return taken


def main() -> int:
    """Prints the figures; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.key_timing")
    parser.add_argument("--calls", type=int, default=CALLS, help="calls of each kind")
    parser.add_argument("--strings", type=int, default=STRINGS, help="random texts for the parser")
    options = parser.parse_args()
    gc.disable()
    with open_keys() as (settings, urls):
        medians = asyncio.run(time_calls(settings, urls, make_texts(settings, urls), options.calls))
    for kind, microseconds in medians.items():
        print(f"{kind:<18}{microseconds:8.2f} µs   {microseconds / medians['valid']:.3f} of a valid one")
    ratio = medians["wrong secret"] / medians["valid"]
    taken = count_taken(options.strings)
    print(f"wrong secret / valid: {ratio:.3f} (promised: within {TOLERANCE:.0%})")
    print(f"{taken} of {options.strings:,} random texts were taken for keys")
    return int(abs(ratio - 1) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
