"""Every page and form of the portal shows problems as pages, whatever ends its request."""

from __future__ import annotations

from dataclasses import replace

from api.auth.sessions import TOKEN_CHARACTERS
from api.portal.pages.sign_in_openid import CALLBACK
from api.portal.routes import ACTIONS, PAGES
from tests.support.lab import Lab
from tests.support.visitor import OURS

SIGN_IN = (CALLBACK, "/sign-in/with/{number}")


def test_a_lost_database_is_told_of_on_a_page(lab: Lab) -> None:
    away = replace(lab.urls, write=lab.urls.write.replace("decant_write", "nobody_at_all"))
    cookie = {"Cookie": f"decant={'A' * TOKEN_CHARACTERS}"}  # has to be looked up
    asked = [("GET", path) for path in (*(page.path for page in PAGES), *SIGN_IN)]
    asked += [("POST", action.path) for action in ACTIONS]
    with Lab(lab.settings.model_copy(update={"pool_timeout_ms": 50}), away).serve() as client:
        for method, path in asked:
            answer = client.request(method, path.replace("{number}", "1"), headers=cookie | OURS)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8"), path
            assert answer.headers["retry-after"]
            assert "Content-Security-Policy" in answer.headers
            assert "nobody_at_all" not in answer.text
