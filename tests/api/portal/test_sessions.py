"""Signing in: whose session it is, how long it lasts, and what no other site can do with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.session_store import KEPT_AT_ONCE, OPEN_AT_ONCE
from api.auth.sessions import TOKEN_CHARACTERS
from api.portal.signing_in.form import local_path
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import load_shop
from tests.support.visitor import OURS, sign_in
from tests.support.waiting import wait_until

Product = Callable[[Callable[..., Lab]], Lab]
PEOPLE = "/browse/people/v1/people"
READ, ADMIN = "people:read", "keys:admin"
FORMS = (
    *("/sign-in", "/sign-out", "/account/rotate", "/account/keys"),
    *("/account/keys/abc/rotate", "/account/keys/abc/revoke", "/account/sessions"),
    *(
        f"/account/webhooks{action}"
        for action in ("", "/abc/test", "/abc/switch", "/abc/rotate", "/abc/replays", "/abc/delete")
    ),
)


@pytest.fixture
def shop(product: Product) -> Lab:
    return product(load_shop)


@pytest.fixture
def client(shop: Lab) -> Iterator[httpx.Client]:
    with shop.serve() as client:
        yield client


def change(lab: Lab, statement: str, key: str) -> None:
    """Runs a statement about the key of a session, as the owner of the database."""
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        assert connection.execute(statement.encode(), (id_of(key),)).rowcount > 0


def id_of(key: str) -> str:
    return key.split("_")[1]


def test_a_session_sees_what_its_key_opens_and_no_more(shop: Lab, client: httpx.Client) -> None:
    assert client.get(PEOPLE).status_code == 401
    visitor = sign_in(client, make_key(shop, READ))
    shown = visitor.get(PEOPLE)
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "private, no-cache")
    assert "Hedwig" in shown.text
    assert visitor.get("/account/keys").status_code == 403
    assert visitor.get("/account").status_code == 200
    assert "Read People." in visitor.get("/account").text


def test_the_api_never_reads_a_cookie(shop: Lab, client: httpx.Client) -> None:
    sign_in(client, make_key(shop, READ, ADMIN, "ops:read", "ops:write"))
    for path in ("/data/people/v1/people/records", "/keys", "/keys/self", "/operations/loads", "/operations/audit"):
        assert client.get(path).status_code == 401, path
    assert client.post("/keys", json={"name": "x", "scopes": [READ]}, headers=OURS).status_code == 401
    assert "people" not in client.get("/data").text


def test_the_cookie_holds_random_bits_and_the_database_their_digest(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    answer = client.post("/sign-in", data={"key": key, "next": "/"}, headers=OURS)
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(
        rf"decant=[A-Za-z0-9_-]{{{TOKEN_CHARACTERS}}}; HttpOnly; Max-Age=86400; Path=/; SameSite=lax", cookie
    )
    kept = repr(shop.rows("SELECT * FROM decant.sessions WHERE key_id = %s", id_of(key)))
    assert client.cookies["decant"] not in kept
    assert key not in kept
    again = client.post("/sign-in", data={"key": key, "next": "/"}, headers=OURS)
    assert again.headers["set-cookie"] != cookie


def test_a_wrong_key_opens_no_session_and_says_nothing_of_why(shop: Lab, client: httpx.Client) -> None:
    right = make_key(shop, READ)
    revoked = make_key(shop, READ)
    change(shop, "UPDATE decant.api_keys SET revoked_at = now() WHERE id = %s", revoked)
    answers = [
        client.post("/sign-in", data={"key": key, "next": "/"}, headers=OURS)
        for key in (right[:-1] + ("0" if right[-1] != "0" else "1"), revoked, "dcnt_x")
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert not any("set-cookie" in answer.headers for answer in answers)
    assert right not in answers[0].text
    assert client.post("/sign-in", data={"key": "", "next": "/"}, headers=OURS).status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE decant.api_keys SET revoked_at = now() WHERE id = %s", "its key or its issuer no longer counts"),
        ("UPDATE decant.api_keys SET expires_at = now() WHERE id = %s", "its key or its issuer no longer counts"),
        ("UPDATE decant.sessions SET seen_at = now() - interval '8 hours 1 second' WHERE key_id = %s", "8 hours"),
        ("UPDATE decant.sessions SET expires_at = now() WHERE key_id = %s", "came to its end"),
        ("DELETE FROM decant.sessions WHERE key_id = %s", None),
    ],
    ids=["revoked", "expired", "idle", "over", "gone"],
)
def test_a_session_ends_with_its_key_and_with_its_time(
    shop: Lab, client: httpx.Client, statement: str, why: str | None
) -> None:
    key = make_key(shop, READ)
    visitor = sign_in(client, key)
    held = {"Cookie": f"decant={client.cookies['decant']}"}
    assert visitor.get(PEOPLE).status_code == 200
    change(shop, statement, key)
    wait_until(lambda: client.get(PEOPLE, headers=held).status_code == 401)
    for path, status in ((PEOPLE, 401), ("/", 200)):
        told = client.get(path, headers=held)
        assert (told.status_code, told.headers["set-cookie"][:9]) == (status, 'decant=""')
        assert ('role="status"' in told.text, (why or "") in told.text) == (why is not None, True)
        assert "no-store" in told.headers["cache-control"] or why is None


@pytest.mark.slow
def test_the_oldest_of_too_many_sessions_is_told_why_it_ended(shop: Lab) -> None:
    key = make_key(shop, READ)
    with shop.serve() as first, shop.serve() as other:
        visitor = sign_in(first, key)
        assert visitor.get(PEOPLE).status_code == 200
        change(shop, "UPDATE decant.sessions SET seen_at = now() - interval '2 hours' WHERE key_id = %s", key)
        for _ in range(OPEN_AT_ONCE - 1):
            sign_in(other, key)
        assert first.get(PEOPLE).status_code == 200
        newest = sign_in(other, key)
        assert newest.get(PEOPLE).status_code == 200
        held = {"Cookie": f"decant={first.cookies['decant']}"}
        wait_until(lambda: first.get(PEOPLE, headers=held).status_code == 401)
        assert "opened more than 50 sessions" in first.get("/", headers=held).text
        counted = shop.rows(
            "SELECT count(*) FILTER (WHERE ended IS NULL), count(*) FROM decant.sessions WHERE key_id = %s",
            id_of(key),
        )
        assert counted == [(OPEN_AT_ONCE, OPEN_AT_ONCE + 1)]


def test_rows_of_sessions_that_are_over_are_bounded(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    sign_in(client, key)
    many = """INSERT INTO decant.sessions (token_sha256, client, key_id, expires_at, ended)
        SELECT sha256(n::text::bytea), client, key_id, now(), 'signed_out'
        FROM decant.sessions, generate_series(1, 200) AS n WHERE key_id = %s"""
    change(shop, many, key)
    visitor = sign_in(client, key)
    assert shop.rows("SELECT count(*) FROM decant.sessions WHERE key_id = %s", id_of(key)) == [(KEPT_AT_ONCE + 1,)]
    assert visitor.get(PEOPLE).status_code == 200


def test_a_visitor_sees_the_own_sessions_and_ends_the_others(shop: Lab) -> None:
    key = make_key(shop, READ)
    with shop.serve() as here, shop.serve() as there, shop.serve() as elsewhere:
        stranger = sign_in(elsewhere, make_key(shop, READ))
        sign_in(there, key)
        visitor = sign_in(here, key)
        assert there.get(PEOPLE).status_code == 200
        listed = visitor.get("/account").text.partition("Open sessions")[2].partition("</table>")[0]
        assert (listed.count("<tr>"), listed.count("this session")) == (3, 1), "two, below the head"
        answer = visitor.send("/account", "/account/sessions")
        assert (answer.status_code, answer.headers["location"]) == (303, "/account")
        told = there.get(PEOPLE)
        assert (told.status_code, "ended from another session" in told.text) == (401, True)
        assert visitor.get(PEOPLE).status_code == stranger.get(PEOPLE).status_code == 200
        assert "End all others" not in visitor.get("/account").text


def test_signing_out_ends_the_session_for_whoever_kept_its_cookie(shop: Lab, client: httpx.Client) -> None:
    visitor = sign_in(client, make_key(shop, READ))
    stolen = client.cookies["decant"]
    answer = visitor.send("/account", "/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers["clear-site-data"] == '"cache"'
    assert client.get(PEOPLE).status_code == 401
    assert client.get(PEOPLE, headers={"Cookie": f"decant={stolen}"}).status_code == 401


@pytest.mark.parametrize("text", ["", "x", "A" * TOKEN_CHARACTERS, "é" * TOKEN_CHARACTERS, "A" * 5000])
def test_a_cookie_that_is_none_of_ours_is_nobody(client: httpx.Client, text: str) -> None:
    headers = {b"Cookie": f"decant={text}".encode()}
    assert client.get(PEOPLE, headers=headers).status_code == 401
    assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "planted",
    [
        b"decant=%b; decant=other",
        b"decant=other; decant=%b",
        b"decant=other; \x85decant=%b",
        b"\xa0decant=%b",
        b'decant="%b"',
    ],
)
def test_a_cookie_that_another_host_may_have_planted_is_nobody(
    shop: Lab, client: httpx.Client, planted: bytes
) -> None:
    sign_in(client, make_key(shop, READ))
    text = client.cookies["decant"].encode()
    client.cookies.clear()
    assert client.get(PEOPLE, headers={b"Cookie": b"other=1; decant=" + text}).status_code == 200
    assert client.get(PEOPLE, headers={b"Cookie": planted % text}).status_code == 401


def test_a_credential_in_a_header_comes_before_the_cookie(shop: Lab, client: httpx.Client) -> None:
    sign_in(client, make_key(shop, READ))
    other = make_key(shop, "others:read")
    assert client.get(PEOPLE, headers={"X-API-Key": other}).status_code == 404
    assert client.get(PEOPLE, headers={"X-API-Key": "dcnt_wrong"}).status_code == 401


SITES: dict[str, tuple[dict[str, str], bool]] = {
    "same origin": ({"Sec-Fetch-Site": "same-origin"}, True),
    "same site": ({"Sec-Fetch-Site": "same-site"}, False),
    "cross site": ({"Sec-Fetch-Site": "cross-site"}, False),
    "typed in": ({"Sec-Fetch-Site": "none"}, False),
    "cross site, own origin": ({"Sec-Fetch-Site": "cross-site", "Origin": "{own}"}, False),
    "own origin": ({"Origin": "{own}"}, True),
    "origin null": ({"Origin": "null"}, False),
    "other origin": ({"Origin": "https://attacker.example"}, False),
    "own host, other scheme": ({"Origin": "https://{host}"}, False),
    "own host, other port": ({"Origin": "http://127.0.0.1:1"}, False),
    "own host as a prefix": ({"Origin": "{own}.attacker.example"}, False),
    "neither": ({}, False),
}


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("site", SITES)
def test_a_form_is_taken_from_pages_of_this_service_only(
    shop: Lab, client: httpx.Client, path: str, site: str
) -> None:
    headers, taken = SITES[site]
    own = str(client.base_url).rstrip("/")
    told = {name: text.format(own=own, host=own.removeprefix("http://")) for name, text in headers.items()}
    answer = client.post(path, data={"key": "dcnt_x"}, headers=told)
    refused = answer.status_code == 403 and "Form not from here" in answer.text
    assert refused is not taken


def test_a_form_needs_the_token_of_its_own_session(shop: Lab, client: httpx.Client) -> None:
    first = sign_in(client, make_key(shop, READ))
    token = re.search(r'name="form" value="([^"]+)"', first.get("/account").text)
    assert token is not None
    second = sign_in(client, make_key(shop, READ))
    for data in ({"x": ""}, {"form": ""}, {"form": "é"}, {"form": token[1]}):
        answer = client.post("/sign-out", data=data, headers=OURS)
        assert answer.status_code == 403, data
    assert second.get("/account").status_code == 200


def test_each_page_hides_the_token_of_the_session_anew(shop: Lab, client: httpx.Client) -> None:
    visitor = sign_in(client, make_key(shop, "people:read"))
    shown = [visitor.get("/account") for _ in range(2)]
    assert {answer.headers["content-encoding"] for answer in shown} <= {"gzip", "zstd"}
    tokens = [re.findall(r'name="form" value="([^"]+)"', answer.text)[-1] for answer in shown]
    assert tokens[0][:40] != tokens[1][:40]
    assert tokens[0][-40:] != tokens[1][-40:]
    for wrong in (tokens[0][:-1], tokens[0][:43], tokens[0][:43] + tokens[1][43:], tokens[0] + "AAAA"):
        refused = client.post("/sign-out", data={"form": wrong}, headers=OURS)
        assert refused.status_code == 403
    assert visitor.get("/account").status_code == 200
    # The older one still holds: people send the form of a page that they opened before another.
    assert client.post("/sign-out", data={"form": tokens[0]}, headers=OURS).status_code == 303


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"key=%FF", "application/x-www-form-urlencoded", 422),
        (b"key=\xff", "application/x-www-form-urlencoded", 422),
        (b"key=%00", "application/x-www-form-urlencoded", 422),
        (b"&".join([b"a=b"] * 3000), "application/x-www-form-urlencoded", 413),
        (b"a" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"", "multipart/form-data; boundary=x", 415),
    ],
)
def test_a_form_that_is_none_is_refused_in_words(
    client: httpx.Client, body: bytes, media_type: str, status: int
) -> None:
    answer = client.post("/sign-in", content=body, headers=OURS | {"Content-Type": media_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/browse?q=a b", "/browse?q=a b"),
        ("/browse?q=x#part", "/browse?q=x"),
        *((text, "/") for text in ("//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb")),
        *(
            (text, "/")
            for text in (
                "//[",
                "http://[",
                "javascript:alert(1)",
                "///evil.example",
                "\t//evil.example",
                "/é",
                "http:/x",
            )
        ),
    ],
)
def test_a_sign_in_leads_back_to_this_service_only(text: str, path: str) -> None:
    assert local_path(text) == path


@given(st.text())
def test_no_text_leads_to_another_host(text: str) -> None:
    found = httpx.URL("http://here.example").join(local_path(text))
    assert (found.scheme, found.host) == ("http", "here.example")


def test_actions_that_ask_for_it_need_a_sign_in_of_a_moment_ago(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ, ADMIN)
    visitor = sign_in(client, key)
    age = "UPDATE decant.sessions SET shown_at = now() - interval '11 minutes' WHERE key_id = %s"
    change(shop, age, key)
    rotated = visitor.send("/account", "/account/rotate", overlap="0")
    assert (rotated.status_code, rotated.headers["location"]) == (303, "/sign-in?next=%2Faccount&again=1")
    fields = {"name": "stolen", "scope": READ}
    answer = visitor.send("/account/keys", "/account/keys", **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Faccount%2Fkeys&again=1")
    assert "stolen" not in visitor.get("/account/keys?state=all").text
    assert "Sign in again" in visitor.get(answer.headers["location"]).text


def test_a_key_is_rotated_and_the_session_goes_on(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    visitor = sign_in(client, key)
    answer = visitor.send("/account", "/account/rotate", overlap="0")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    new = re.search(r">(dcnt_[0-9A-Za-z_]+)<", answer.text)
    assert new is not None
    records = "/data/people/v1/people/records"
    assert client.get(records, headers={"X-API-Key": new[1]}).status_code == 200
    assert client.get(records, headers={"X-API-Key": key}).status_code == 401
    assert id_of(new[1]) in visitor.get("/account").text


def test_a_rotation_says_when_both_keys_end(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    visitor = sign_in(client, key)
    before = visitor.get("/account").text
    assert "although this one has no end" in before
    said = re.search(r'It ends <time datetime="([0-9-]{10})', before)
    assert said is not None
    shown = visitor.send("/account", "/account/rotate", overlap="86400").text
    assert "This key has an end date, which the one before it had not" in shown
    assert f"<code>{id_of(key)}</code>, ends</dt><dd>in a day: until then both work" in shown
    assert said[1] in shown, "the day that was announced"
    after = visitor.get("/account").text
    assert f"This key took the place of <code>{id_of(key)}</code>, which still works, and ends <time" in after
    assert "although this one has no end" not in after
    change(shop, "UPDATE decant.api_keys SET expires_at = now() WHERE id = %s", key)
    assert f"This key took the place of <code>{id_of(key)}</code>, which has ended." in visitor.get("/account").text
    admin = sign_in(client, make_key(shop, ADMIN))
    assert "takes its place" in admin.get("/account/keys?state=all").text


def test_a_key_that_was_rotated_says_so_to_who_still_uses_it(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    headers = {"X-API-Key": key}
    assert client.get("/keys/self", headers=headers).json()["data"]["predecessor"] is None
    new = client.post("/keys/self/rotate", headers=headers).json()["data"]
    told = client.get("/account", headers=headers).text
    assert f"This key was rotated: <code>{new['id']}</code> takes its place." in told
    own = client.get("/keys/self", headers={"X-API-Key": new["key"]}).json()["data"]
    assert (own["predecessor"]["id"], own["predecessor"]["ended"]) == (id_of(key), False)
    assert own["rotation"]["possible"] is True
    assert client.get("/keys/self", headers=headers).json()["data"]["rotation"]["possible"] is False


def test_a_page_that_is_reloaded_rotates_no_second_time(shop: Lab, client: httpx.Client) -> None:
    visitor = sign_in(client, make_key(shop, READ))
    shown = visitor.get("/account").text.partition('action="/account/rotate"')[2]
    hidden = dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', shown.partition("</form>")[0]))
    first, second = (
        client.post("/account/rotate", data=hidden | {"overlap": "3600"}, headers=OURS) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (200, 409)
    assert "rotated already" in second.text


def test_a_refused_form_is_shown_again_with_what_was_typed(shop: Lab, client: httpx.Client) -> None:
    admin = sign_in(client, make_key(shop, ADMIN))
    fields: dict[str, str | list[str]] = {"name": '"><b>', "scope": READ, "expires": "2001-01-01", "rate": "5/hour"}
    answer = admin.send("/account/keys", "/account/keys", **fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "must be a future time" in answer.text
    assert 'value="&#34;&gt;&lt;b&gt;"' in answer.text
    assert f'value="{READ}" checked' in answer.text
    assert "API keys" in answer.text


def test_an_administrator_makes_lists_rotates_and_revokes_keys(shop: Lab, client: httpx.Client) -> None:
    admin = sign_in(client, make_key(shop, ADMIN))
    made = admin.send(
        "/account/keys",
        "/account/keys",
        name="<b>partner</b>",
        scope=[READ, "ops:read"],
        expires="2099-01-01",
        rate="",
    )
    assert made.status_code == 200, made.text
    key = re.search(r">(dcnt_[0-9A-Za-z_]+)<", made.text)
    assert key is not None
    listed = admin.get("/account/keys")
    assert "&lt;b&gt;partner&lt;/b&gt;" in listed.text
    assert key[1] not in listed.text
    path = f"/account/keys/{id_of(key[1])}"
    assert "dcnt_" in admin.send("/account/keys", f"{path}/rotate", overlap="3600").text
    assert f'href="{path}/revoke"' in admin.get("/account/keys").text
    asked = admin.get(f"{path}/revoke").text
    assert "Revoke “&lt;b&gt;partner&lt;/b&gt;”?" in asked
    assert "the key that took its place" in asked
    assert "<dt>Last used</dt><dd>never</dd>" in asked
    gone = admin.send(f"{path}/revoke", f"{path}/revoke")
    assert (gone.status_code, gone.headers["location"]) == (303, "/account/keys?state=revoked")
    assert client.get("/data/people/v1/people/records", headers={"X-API-Key": key[1]}).status_code == 401
    assert admin.get(f"{path}/revoke").headers["location"] == "/account/keys?state=revoked"
    assert admin.get("/account/keys/nothing/revoke").status_code == 404
    assert admin.get("/account/keys/self/revoke").status_code == 404


def test_a_revocation_says_what_would_stop_and_is_shown_to_administrators_alone(
    shop: Lab, client: httpx.Client
) -> None:
    path = f"/account/keys/{id_of(make_key(shop, READ))}/revoke"
    assert client.get(path).status_code == 401
    assert sign_in(client, make_key(shop, READ)).get(path).status_code == 403
    own = make_key(shop, ADMIN, "ops:read")
    admin = sign_in(client, own)
    assert "No request was counted." in admin.get(path).text
    assert "the session ends with it" in admin.get(f"/account/keys/{id_of(own)}/revoke").text
    assert "in the last 30 days" not in sign_in(client, make_key(shop, ADMIN)).get(path).text


def test_a_form_that_is_sent_twice_makes_one_key(shop: Lab, client: httpx.Client) -> None:
    sign_in(client, make_key(shop, ADMIN))
    shown = client.get("/account/keys").text.partition("Make a key")[2]
    hidden = dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', shown))
    fields = hidden | {"name": "only one", "scope": READ}
    first, second = (client.post("/account/keys", data=fields, headers=OURS) for _ in range(2))
    assert first.status_code == second.status_code == 200
    found = [re.search(r">(dcnt_[0-9A-Za-z_]+)<", answer.text) for answer in (first, second)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "scope": READ},
        {"name": "x"},
        {"name": "x", "scope": "nothing:read"},
        {"name": "x", "scope": READ, "expires": "2001-01-01"},
        {"name": "x", "scope": READ, "expires": "<b>"},
        {"name": "x", "scope": READ, "rate": "fast"},
    ],
)
def test_a_key_that_cannot_be_made_is_refused_as_the_api_refuses_it(
    shop: Lab, client: httpx.Client, fields: dict[str, str]
) -> None:
    admin = sign_in(client, make_key(shop, ADMIN))
    answer = admin.send("/account/keys", "/account/keys", **fields)
    assert answer.status_code == 422
    assert "<b>" not in answer.text


@pytest.mark.slow
def test_the_account_says_why_requests_were_refused(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    visitor = sign_in(client, key)
    assert client.get("/data/people/v1/people/records?nothing=1", headers={"X-API-Key": key}).status_code == 422
    assert visitor.get("/account/keys").status_code == 403
    wait_until(lambda: "unknown_parameter" in visitor.get("/account").text)
    shown = visitor.get("/account").text
    assert "/docs/problems/insufficient_scope" in shown


@pytest.mark.slow
def test_the_first_page_tells_what_was_published_since_the_last_visit(shop: Lab, client: httpx.Client) -> None:
    key = make_key(shop, READ)
    first = sign_in(client, key).get("/").text
    assert "Published in the last seven days" in first
    assert "people" in first.partition("Published in")[2]
    again = sign_in(client, key).get("/").text
    assert "Published since your last visit" in again
    assert "Nothing was published in that time" in again
    change(shop, "UPDATE decant.sessions SET visited_at = '2020-01-01' WHERE key_id = %s", key)
    wait_until(lambda: "revision 2" in client.get("/").text.partition("since your last visit")[2])


def test_a_page_is_told_apart_by_who_has_signed_in(shop: Lab, client: httpx.Client) -> None:
    open_page = client.get("/browse/shop/v1/orders")
    visitor = sign_in(client, make_key(shop, READ))
    own = visitor.get("/browse/shop/v1/orders")
    assert open_page.headers["etag"] != own.headers["etag"]
    assert "Account" in own.text
    assert "Account" not in open_page.text
    assert "Cookie" in own.headers["vary"]
    assert "Cookie" in open_page.headers["vary"]


@pytest.mark.parametrize(
    ("settings", "headers", "cookie"),
    [
        ({"public_url": "https://data.example"}, {}, "__Host-decant"),
        ({"public_url": "https://data.example/"}, {}, "__Host-decant"),
        ({"public_url": "https://data.example/sub/"}, {}, "__Secure-decant"),
        ({"trusted_proxies": ["127.0.0.0/8"]}, {"X-Forwarded-Proto": "https"}, "__Host-decant"),
        ({"trusted_proxies": ["127.0.0.0/8"]}, {"X-Forwarded-Proto": "http, https"}, "__Host-decant"),
        ({"trusted_proxies": ["10.0.0.0/8"]}, {"X-Forwarded-Proto": "https", "Host": "data.example"}, None),
        ({}, {"Host": "data.example"}, None),
        ({}, {"Host": "localhost:8000"}, "decant"),
        ({"public_url": "http://data.example"}, {"Host": "data.example"}, None),
    ],
)
def test_a_cookie_is_given_where_nobody_on_the_way_reads_it(
    make_lab: Callable[..., Lab], settings: dict[str, object], headers: dict[str, str], cookie: str | None
) -> None:
    lab = make_lab(**settings)
    with lab.serve() as client:
        answer = client.post("/sign-in", data={"key": make_key(lab, READ)}, headers=OURS | headers)
        given_cookie = answer.headers.get("set-cookie", "")
        if cookie is None:
            assert (answer.status_code, given_cookie) == (200, "")
            assert "needs HTTPS" in answer.text
        else:
            assert given_cookie.startswith(f"{cookie}=")
            assert ("; Secure" in given_cookie) is (cookie != "decant")
            assert ("; Path=/sub;" if cookie == "__Secure-decant" else "; Path=/;") in given_cookie
