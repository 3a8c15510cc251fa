"""The ground that refusals are tried on: a service within its limits, its credentials, and what a refusal is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from api.auth.api_keys import KEY_PREFIX, checksum, parse_key
from api.query.cursor import Cursor, encode_cursor
from runtime.postgres.database import DatabaseUrls
from runtime.settings.token_issuers import TokenIssuer
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.sockets import serving

SHOP = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.2.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: things
    customProperties:
      - {property: input, value: {server: here, path: things.csv, mode: snapshot}}
    properties:
      - {name: id, logicalType: integer, physicalType: integer, primaryKey: true}
      - {name: name, logicalType: string}
      - {name: size, logicalType: integer, physicalType: integer}
      - {name: serial, logicalType: integer, physicalType: bigint}
      - {name: price, logicalType: number, physicalType: "numeric(12,2)"}
      - {name: weight, logicalType: number}
      - {name: sold, logicalType: boolean}
      - {name: day, logicalType: date}
      - {name: seen, logicalType: timestamp}
      - {name: pin, logicalType: string, classification: restricted}
  - name: readings
    customProperties:
      - {property: input, value: {events: true, mode: upsert}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true, required: true}
      - {name: note, logicalType: string}
roles:
  - {role: "shop:read", access: read}
"""

ROWS = """id,name,size,serial,price,weight,sold,day,seen,pin
1,Ann,3,1,1.50,0.5,true,2013-01-01,2013-01-01T06:00:00Z,1234
2,Ben,4,2,2.50,1.5,false,2013-01-02,2013-01-02T06:00:00Z,2345
3,Cleo,5,3,3.50,2.5,true,2013-01-03,2013-01-03T06:00:00Z,3456
"""
SCOPES = {
    "reader": ("shop:read",),
    "writer": ("shop:write", "shop:read"),
    "operator": ("ops:read", "ops:write"),
    "admin": ("keys:admin",),
    "stranger": ("elsewhere:read", "elsewhere:write"),
}


@dataclass(frozen=True)
class Refusal:
    """A request, and what it must get. What stands in <angles> in its path or a header, the ground knows."""

    path: str
    status: int
    code: str
    caller: str = "reader"  # whose key is sent; empty: nobody's
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    says: str = ""  # what stands in the body of the answer
    shows: tuple[str, str] | None = None  # a header of the answer, and what stands in it


@dataclass(frozen=True)
class Ground:
    """A running service and what requests to it are made of."""

    lab: Lab
    client: httpx.Client
    words: Mapping[str, str]  # keys by their holders, cursors by what is wrong with them

    def fill(self, text: str) -> str:
        """A text with what its words in angles stand for."""
        for word, meaning in self.words.items():
            text = text.replace(f"<{word}>", meaning)
        return text

    def send(self, refusal: Refusal) -> httpx.Response:
        """The answer to a request of the table."""
        headers = {name: self.fill(text) for name, text in refusal.headers.items()}
        if refusal.caller:
            headers["X-API-Key"] = self.words[refusal.caller]
        return self.client.request(refusal.method, self.fill(refusal.path), headers=headers, content=refusal.body)


@contextmanager
def run_ground(folder: Path, urls: DatabaseUrls, *issuers: TokenIssuer) -> Iterator[Ground]:
    """The ground, with a closed product and a key of each kind."""
    lab = Lab.build(folder, urls, SHOP, token_issuers=issuers)
    lab.migrate()
    assert lab.ingest("shop.things", ROWS, "things.csv").status == "published"
    with serving(lab) as (host, port), httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
        keys = make_keys(lab)
        yield Ground(lab, client, keys | make_cursors(client, keys["reader"]))


def make_keys(lab: Lab) -> dict[str, str]:
    """A key for each kind of caller, good ones and bad ones."""
    keys = {caller: make_key(lab, *scopes, name=caller) for caller, scopes in SCOPES.items()}
    keys["expired"] = make_key(lab, "shop:read", expires=datetime.now(UTC) - timedelta(seconds=5), name="expired")
    keys["revoked"] = make_key(lab, "shop:read", name="revoked")
    lab.rows("UPDATE decant.api_keys SET revoked_at = now() WHERE name = 'revoked' RETURNING id")
    good = parse_key(keys["reader"])
    assert good is not None
    keys["unknown"] = spell_key("0" * 12, good.secret)
    keys["wrong"] = spell_key(good.id, "0" * 32)
    keys["mistyped"] = keys["reader"][:-1] + ("0" if keys["reader"][-1] != "0" else "1")
    keys["cut"] = keys["reader"][:-1]
    return keys


def spell_key(key_id: str, secret: str) -> str:
    """A key with the right checksum, valid or not."""
    return f"{KEY_PREFIX}{key_id}_{secret}{checksum(key_id, secret)}"


def make_cursors(client: httpx.Client, key: str) -> dict[str, str]:
    """A good cursor of `sort=-id&limit=1`, and bad ones."""
    answer = client.get("/data/shop/v1/things/records?sort=-id&limit=1", headers={"X-API-Key": key})
    cursor = answer.json()["next"].partition("cursor=")[2].partition("&")[0]
    forged = encode_cursor(Cursor("0" * 8, (1,), "0" * 16, (0, "2")), b"a secret of somebody else's")
    return {"cursor": cursor, "cursor cut off": cursor[:-6], "cursor forged": forged}
