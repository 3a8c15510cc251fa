"""Clients that TypeScript's own generator makes, and the rules of Spectral, where their tools are installed.

`npm install openapi-typescript openapi-fetch typescript@5 @stoplight/spectral-cli` in a folder outside the checkout
brings them; NODE_TOOLS names that folder.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.settings import PROJECT_ROOT
from tests.lab import Lab

TOOLS = Path(os.environ.get("NODE_TOOLS", "/nonexistent")) / "node_modules"
pytestmark = pytest.mark.skipif(
    not (TOOLS / ".bin" / "openapi-typescript").exists(), reason="NODE_TOOLS names no folder with the tools of Node"
)
CLIENT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./types.js";

const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: "%s" });
const page = await client.GET("/data/people/v1/people/records", {
  params: { query: { limit: 2, sort: "-age", "age[gte]": 20 } },
});
if (page.data === undefined) throw new Error(page.error.code);
const ages: (number | null | undefined)[] = page.data.data.map((person) => person.age);
const revision: number = page.data.revision;
const one = await client.GET("/data/people/v1/people/records/{key}", { params: { path: { key: "2" } } });
const person: components["schemas"]["PeopleV1People"] | undefined = one.data?.data;
const refused = await client.GET("/data/people/v1/people/records", { params: { query: { limit: 5000 } } });
console.log(JSON.stringify({ ages, revision, next: page.data.next, name: person?.name, code: refused.error?.code }));
"""


def run(folder: Path, *command: str) -> str:
    """What a tool of Node prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_generated_client_compiles_strictly_and_reads_a_page(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = make_lab()
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n2,Bob,40,\n3,Cid,50,\n4,Dee,10,\n")
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "node_modules").symlink_to(TOOLS)
    (folder / "package.json").write_text('{"type": "module"}')
    with lab.serve() as client:
        (folder / "openapi.json").write_text(client.get("/openapi.json").text)
        (folder / "client.ts").write_text(CLIENT % str(client.base_url).rstrip("/"))
        tools = folder / "node_modules" / ".bin"
        run(folder, str(tools / "openapi-typescript"), "openapi.json", "-o", "types.ts")
        run(folder, str(tools / "tsc"), "--strict", "--target", "es2022", "--module", "nodenext", "client.ts")
        found = json.loads(run(folder, "node", "client.js"))
    assert found.pop("next").startswith("/data/people/v1/people/records?")
    assert found == {"ages": [50, 40], "revision": 1, "name": "Bob", "code": "limit_out_of_range"}


def test_the_document_keeps_every_rule_of_spectral(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text('extends: ["spectral:oas"]\n')
    document = str(PROJECT_ROOT / "openapi" / "openapi.json")
    command = [str(TOOLS / ".bin" / "spectral"), "lint", document, "--ruleset", str(rules), "--fail-severity", "hint"]
    assert "No results" in run(tmp_path, *command)
