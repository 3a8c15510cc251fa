"""Swagger UI in a real browser: who logs in gets the document of their own, and asks with their credential.

`npm install puppeteer-core` in the folder that NODE_TOOLS names drives the `chromium` on PATH.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from tests.support.issuer import Issuer, run_issuer
from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.remote_api import Asked, Reply
from tests.support.site import open_site

TOOLS = Path(os.environ.get("NODE_TOOLS", "/nonexistent")) / "node_modules"
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or not (TOOLS / "puppeteer-core").exists(),
    reason="there is no `chromium` on PATH, or NODE_TOOLS names no folder with puppeteer-core",
)
CLOSED = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")
RECORDS = "/data/people/v1/people/records"
AUTHORIZE, TOKEN = "/authorize", "/token"
# What every visit begins and ends with; between them stands what it does. It prints what it found.
VISIT = """
import puppeteer from "puppeteer-core";

const [base, chromium, secret, records] = process.argv.slice(2);
const path = new URL(base).pathname.replace(/\\/$/, "");
const browser = await puppeteer.launch({
  executablePath: chromium,
  acceptInsecureCerts: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const page = await browser.newPage();
const found = { complaints: [] };
page.on("pageerror", (error) => found.complaints.push(String(error)));
page.on("console", (said) => said.type() === "error" && found.complaints.push(said.text()));
const click = async (selector) => (await page.waitForSelector(selector)).evaluate((element) => element.click());
const type = async (selector, text) => (await page.waitForSelector(selector)).type(text);
// The catalogue is in every document, so the page is not merely empty.
const shows = (wanted) => page.waitForFunction(
  (path, wanted) => document.querySelector('[data-path="/data"]') !== null
    && (document.querySelector(`[data-path="${path}"]`) !== null) === wanted, {}, records, wanted);
const ask = async () => {
  const operation = `.opblock:has([data-path="${records}"])`;
  await click(`${operation} .opblock-summary-control`);
  await click(`${operation} .btn.execute`);
  const answer = await page.waitForSelector(`${operation} .live-responses-table .highlight-code code`);
  return JSON.parse(await answer.evaluate((element) => element.textContent));
};
try {
  await page.goto(`${base}/docs`, { waitUntil: "networkidle0" });
  await shows(false);
  await click(".auth-wrapper .btn.authorize");
  %s
} finally {
  console.log(JSON.stringify(found));
  await browser.close();
}
"""
WITH_KEY = """
  await type("#%s", secret);
  await click(`.auth-container:has(#%s) .btn.authorize`);
  await shows(true);
  await click(".btn-done");
  found.data = (await ask()).data;
  await click(".auth-wrapper .btn.authorize");
  await click(".auth-container .btn:not(.authorize):not(.btn-done)");
  await shows(false);
"""
WITH_LOGIN = """
  const login = ".auth-container:has(#client_id_authorizationCode)";
  found.client = await (await page.waitForSelector("#client_id_authorizationCode")).evaluate((field) => field.value);
  // Scopes begin unchosen; "select all" is the first link beside them.
  await click(`${login} .scopes h2 a`);
  await click(`${login} .btn.authorize`);
  await shows(true);
  await click(".btn-done");
  found.data = (await ask()).data;
"""
WITH_SELECTOR = """
  await type("#auth-bearer-value", secret);
  await click(`.auth-container:has(#auth-bearer-value) .btn.authorize`);
  await shows(true);
  await click(".btn-done");
  found.offered = await page.$$eval("#documents option", (options) => options.map((option) => option.textContent));
  const address = `${path}/openapi/people/v1.json`;
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith(address)), page.select("#documents", address),
  ]);
  found.status = answer.status();
  await shows(true);
  found.data = (await ask()).data;
"""
ANN = [{"id": 1, "name": "Ann", "age": 30, "born": "1990-01-31"}]


def visit(folder: Path, client: httpx.Client, doings: str, secret: str = "") -> dict[str, Any]:
    """What a browser finds that does this on the page."""
    folder.mkdir(exist_ok=True)
    (folder / "node_modules").symlink_to(TOOLS)
    (folder / "visit.mjs").write_text(VISIT % doings)
    command = ["node", "visit.mjs", str(client.base_url).rstrip("/"), str(CHROMIUM), secret, RECORDS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def load(lab: Lab) -> Lab:
    """The lab, with one person in it."""
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    return lab


@dataclass
class Login:
    """The pages of an issuer that log in whoever comes, and trade codes for tokens as RFC 7636 says."""

    issuer: Issuer
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Reply:
        """Leads back with a code, or gives the token that a code and its verifier ask for."""
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Headers": "*",
            "Content-Type": "application/json",
        }
        if asked.path == AUTHORIZE:
            code = f"code{len(self.asked)}"
            assert asked.params["code_challenge_method"] == "S256"
            self.asked[code] = dict(asked.params)
            back = urlencode({"code": code, "state": asked.params["state"]})
            return Reply(status=302, headers={"Location": f"{asked.params['redirect_uri']}?{back}"})
        if asked.path != TOKEN:
            return self.issuer.answer(asked)
        if asked.method == "OPTIONS":
            return Reply(headers=headers)
        told = dict(parse_qsl(asked.body.decode()))
        login = self.asked[told["code"]]
        digest = hashlib.sha256(told["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != login["code_challenge"]:
            return Reply({"error": "invalid_grant"}, 400, headers)
        now = int(time.time())
        text = self.issuer.token(iat=now, exp=now + 600, scope=login["scope"])
        return Reply({"access_token": text, "token_type": "Bearer", "expires_in": 600}, headers=headers)


@pytest.mark.parametrize("field", ["auth-bearer-value", "api_key_value"])
def test_who_brings_a_key_sees_and_asks_what_it_opens_until_they_log_out(
    make_lab: Callable[..., Lab], tmp_path: Path, field: str
) -> None:
    lab = load(make_lab(CLOSED))
    key = make_key(lab, "people:read")
    with lab.serve() as client:
        found = visit(tmp_path, client, WITH_KEY % (field, field), key)
    assert found == {"complaints": [], "data": ANN}


def test_who_logs_in_at_the_issuer_sees_and_asks_what_their_token_opens(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    with run_issuer() as issuer:
        issuer.api.answer = Login(issuer).answer
        url = issuer.api.url
        told = issuer.settings(
            authorization_url=url + AUTHORIZE, token_url=url + TOKEN, client_id="swagger", scopes=("people:read",)
        ).model_dump()
        lab = load(make_lab(CLOSED, token_issuers=[told]))
        with lab.serve() as client:
            found = visit(tmp_path, client, WITH_LOGIN)
    assert found == {"complaints": [], "client": "swagger", "data": ANN}


def test_who_brings_a_key_keeps_it_when_choosing_the_document_of_a_product(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    lab = load(make_lab(CLOSED))
    key = make_key(lab, "people:read")
    with lab.serve() as client:
        found = visit(tmp_path, client, WITH_SELECTOR, key)
    assert found == {"complaints": [], "offered": ["Overview", "People v1"], "status": 200, "data": ANN}


@pytest.mark.slow
def test_all_of_it_works_behind_a_proxy_below_a_path(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    with run_issuer() as issuer:
        issuer.api.answer = Login(issuer).answer
        url = issuer.api.url
        told = issuer.settings(
            authorization_url=url + AUTHORIZE, token_url=url + TOKEN, client_id="swagger", scopes=("people:read",)
        ).model_dump()
        with open_site(lambda base: load(make_lab(CLOSED, token_issuers=[told], public_url=base))) as site:
            key = make_key(site.lab, "people:read")
            found = [
                visit(folder, site.client, doings, secret)
                for folder, doings, secret in (
                    (tmp_path / "key", WITH_KEY % ("auth-bearer-value", "auth-bearer-value"), key),
                    (tmp_path / "login", WITH_LOGIN, ""),
                    (tmp_path / "selector", WITH_SELECTOR, key),
                )
            ]
    shown = {"complaints": [], "data": ANN}
    assert found == [
        shown,
        shown | {"client": "swagger"},
        shown | {"offered": ["Overview", "People v1"], "status": 200},
    ]
