"""A visitor of the portal who has signed in, as a browser sends requests."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

OURS = {"Sec-Fetch-Site": "same-origin"}
HIDDEN = re.compile(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">')


def without_way_back(page: str) -> str:
    """The text of a page, but for where a sign-in leads back to: that repeats what was asked for."""
    return re.sub(r'next=[^"]*', "", page)


@dataclass
class Visitor:
    """A browser's requests over one client, whose cookies it keeps."""

    client: httpx.Client

    def get(self, path: str) -> httpx.Response:
        """A page."""
        return self.client.get(path)

    def send(self, page: str, action: str, to: str | None = None, **fields: str | list[str]) -> httpx.Response:
        """Sends the form of a page that goes to an address, with what it holds and these fields.

        `to` is where another of its buttons sends it.
        """
        shown = self.client.get(page)
        assert shown.status_code == 200, shown.text
        form = next(part for part in re.split("<form ", shown.text)[1:] if f'action="{action}"' in part)
        hidden = dict(HIDDEN.findall(form.partition("</form>")[0]))
        return self.client.post(to or action, data=hidden | fields, headers=OURS)


def sign_in(client: httpx.Client, key: str) -> Visitor:
    """The visitor who shows a key."""
    client.cookies.clear()
    answer = client.post("/sign-in", data={"key": key, "next": "/"}, headers=OURS)
    assert answer.status_code == 303, answer.text
    return Visitor(client)
