"""Each kind of bad request gets the documented answer, over HTTP, from a running service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.http.problems import KINDS, MEDIA_TYPE
from tests.support.refusals import Ground, Refusal, run_ground

THINGS = "/data/shop/v1/things"
RECORDS = f"{THINGS}/records"
EVENTS = "/data/shop/v1/readings/events"
JSON = {"Content-Type": "application/json"}
OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "in")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("refusals")
    with run_ground(folder, databases.urls(databases.create())) as ground:
        yield ground


def asked(query: str, code: str, status: int = 422, **more: Any) -> Refusal:
    """A question about records that is refused."""
    return Refusal(f"{RECORDS}?{query}", status, code, **more)


def pushed(body: str | bytes, code: str, status: int = 422, **more: Any) -> Refusal:
    """A push of records that is refused."""
    content = body if isinstance(body, bytes) else body.encode()
    facts = {"caller": "writer", "method": "POST", "headers": JSON, "body": content} | more
    return Refusal(EVENTS, status, code, **facts)


def posted(path: str, body: str | bytes, code: str, status: int = 422, **more: Any) -> Refusal:
    """A request with a body to administrators' and operators' addresses that is refused."""
    content = body if isinstance(body, bytes) else body.encode()
    facts = {"caller": "admin" if path == "/keys" else "operator", "method": "POST", "headers": JSON} | more
    return Refusal(path, status, code, body=content, **facts)


TEXTS = {
    "a NUL in a filter": asked("name=a%00b", "invalid_text"),
    "a NUL in a list of values": asked("name[in]=a,%00", "invalid_text"),
    "a NUL in a parameter's name": asked("na%00me=a", "invalid_text"),
    "a NUL in a search of operators": Refusal("/operations/audit?operation=%00", 422, "invalid_text", "operator"),
    "a NUL in a principal": Refusal("/operations/usage?principal=%00", 422, "invalid_text", "operator"),
    "a NUL in a reason": Refusal("/operations/rejects?reason=%00", 422, "invalid_text", "operator"),
    "a NUL in a group": Refusal(f"{THINGS}/aggregate?group_by=na%00me", 422, "invalid_text"),
    "a NUL in an export's filter": Refusal(f"{THINGS}/export?format=csv&name=%00", 422, "invalid_text"),
    "half a surrogate pair in a filter": asked("name=%ED%A0%80", "invalid_text"),
    "half a surrogate pair for operators": Refusal(
        "/operations/audit?operation=%ED%A0%80", 422, "invalid_text", "operator"
    ),
    "bytes that are no UTF-8 in a filter": asked("name=%FF", "invalid_text"),
    "bytes that are no UTF-8 in a page of loads": Refusal(f"{THINGS}/loads?status=%FF", 422, "invalid_text"),
    "a NUL in a pushed text": pushed('{"id": 1, "note": "a\\u0000"}', "invalid_text"),
    "half a surrogate pair in a pushed text": pushed('{"id": 1, "note": "\\ud800"}', "invalid_text"),
    "half a surrogate pair in a pushed name": pushed('{"id": 1, "\\udfff": 1}', "invalid_text"),
    "pushed bytes that are no UTF-8": pushed(b'{"id": 1, "note": "\xff"}', "invalid_text"),
    "a NUL in the name of a key": posted("/keys", '{"name": "a\\u0000", "scopes": ["shop:read"]}', "invalid_text"),
    "half a surrogate pair in a scope": posted("/keys", '{"name": "a", "scopes": ["\\ud800"]}', "invalid_text"),
    "half a surrogate pair in a member's name": posted("/keys", '{"\\ud800": 1}', "invalid_text"),
    "a load whose product has a NUL": posted("/operations/loads", '{"product": "a\\u0000"}', "invalid_text"),
    "a NUL in a note": posted("/operations/dismissals", '{"note": "a\\u0000"}', "invalid_text"),
    "half a surrogate pair in a key to erase": posted("/operations/erasures", '{"key": ["\\ud800"]}', "invalid_text"),
    "a NUL in a rule": Refusal("/operations/rejects?rule=%00", 422, "invalid_text", "operator"),
    "a NUL in a state of reasons": Refusal("/operations/rejects/reasons?state=%00", 422, "invalid_text", "operator"),
    "a load's bytes that are no UTF-8": posted("/operations/loads", b'{"product": "\xff"}', "invalid_text"),
}
NUMBERS = {
    "NaN pushed": pushed('{"id": NaN}', "invalid_number"),
    "Infinity pushed": pushed('[{"id": 1}, {"id": -Infinity}]', "invalid_number", says="/1"),
    "1e400 pushed": pushed('{"id": 1e400}', "invalid_number"),
    "NaN as an overlap": posted("/keys/self/rotate", '{"overlap_seconds": NaN}', "invalid_number"),
    "1e400 as a load": posted(
        "/operations/replays", '{"product": "shop", "dataset": "things", "load": 1e400}', "invalid_number"
    ),
    "1e400 as an id": posted(
        "/operations/dismissals", '{"product": "shop", "dataset": "things", "ids": [1e400]}', "invalid_number"
    ),
    "5,000 digits as a major": posted(
        "/operations/loads", f'{{"product": "shop", "major": {"9" * 5000}}}', "invalid_number"
    ),
    "an integer beyond its column": asked("size=2147483648", "invalid_value", says="size"),
    "an integer below its column": asked("size[gt]=-2147483649", "invalid_value"),
    "an integer beyond a bigint": asked("serial=9223372036854775808", "invalid_value"),
    "an integer beyond its column in a list": asked("size[in]=1,99999999999", "invalid_value"),
    "a fraction for an integer": asked("size=1.5", "invalid_value"),
    "a number that no double holds": asked("weight=1e400", "invalid_value"),
    "not a number": asked("weight[gte]=nan", "invalid_value"),
    "an endless number": asked("price=Infinity", "invalid_value"),
    "a number with too large a power": asked("price=1e999999999", "invalid_value"),
    "a year over 9999": asked("day=10000-01-01", "invalid_value"),
    "a moment in a year over 9999": asked("seen[lt]=10000-01-01T00:00:00Z", "invalid_value"),
    "infinity as a date": asked("day=infinity", "invalid_value"),
    "-infinity as a moment": asked("seen=-infinity", "invalid_value"),
    "a day that is none": asked("day=2013-02-30", "invalid_value"),
    "an offset that is none": asked("seen=2013-01-01T00:00:00%2B25:00", "invalid_value"),
    "a revision beyond any": asked("at=99999999999999999999", "invalid_value"),
    "a moment beyond 9999 as at": asked("at=12013-01-01T00:00:00Z", "invalid_value"),
    "a key of a record beyond its column": Refusal(f"{RECORDS}/99999999999", 404, "record_not_found"),
    "what is neither true nor false": asked("sold=maybe", "invalid_value"),
}
LIMITS = {
    "a limit of 0": asked("limit=0", "limit_out_of_range"),
    "a limit of 1,001": asked("limit=1001", "limit_out_of_range"),
    "a limit that is none": asked("limit=ten", "limit_out_of_range"),
    "a limit below 0": asked("limit=-1", "limit_out_of_range"),
    "a limit in other digits": asked("limit=%D9%A1", "limit_out_of_range"),
    "a limit of 0 loads": Refusal("/operations/loads?limit=0", 422, "limit_out_of_range", "operator"),
    "a limit of 0 reasons": Refusal("/operations/rejects/reasons?limit=0", 422, "limit_out_of_range", "operator"),
    "a limit of 1,001 keys": Refusal("/keys?limit=1001", 422, "limit_out_of_range", "admin"),
    "a limit of 0 groups": Refusal(f"{THINGS}/aggregate?limit=0", 422, "limit_out_of_range"),
    "a limit of 1,001 changes": Refusal(f"{THINGS}/changes?since=0&limit=1001", 422, "limit_out_of_range"),
    "21 filters": asked(
        "&".join(f"{name}[{op}]=1" for name in ("size", "serial", "id") for op in OPERATORS),
        "query_too_complex",
    ),
    "201 values": asked("size[in]=" + ",".join(["1"] * 201), "query_too_complex"),
    "a pattern of 129 characters": asked("name[like]=" + "x" * 129, "query_too_complex"),
    "a pattern of 129 characters of any case": asked("name[ilike]=" + "%C3%A9" * 129, "query_too_complex"),
    "201 values in an export": Refusal(
        f"{THINGS}/export?format=csv&size[in]=" + ",".join(["1"] * 201), 422, "query_too_complex"
    ),
}
NAMES = {
    "an unknown parameter": asked("nmae=Ann", "unknown_parameter", says='"allowed": ["name"'),
    "an unknown operator": asked("size[like]=1", "unknown_parameter", says='"size[lte]"'),
    "an unknown property to sort by": asked("sort=-wieght", "unknown_parameter", says='"weight"'),
    "an unknown property to show": asked("properties=nane", "unknown_parameter", says='"name"'),
    "an unknown property to group by": Refusal(
        f"{THINGS}/aggregate?group_by=nane", 422, "unknown_parameter", says='"name"'
    ),
    "an unknown property to measure": Refusal(f"{THINGS}/aggregate?measure=avg:siz", 422, "unknown_parameter"),
    "a hidden property": asked("pin=1234", "unknown_parameter"),
    "an operator of a hidden property": asked("pin[like]=1*", "unknown_parameter"),
    "a hidden property to sort by": asked("sort=pin", "unknown_parameter"),
    "a hidden property to show": asked("properties=pin", "unknown_parameter"),
    "a hidden property to group by": Refusal(f"{THINGS}/aggregate?group_by=pin", 422, "unknown_parameter"),
    "a hidden property to measure": Refusal(f"{THINGS}/aggregate?measure=min:pin", 422, "unknown_parameter"),
    "a column of Decant's own": asked("_revision=1", "unknown_parameter"),
    "an unknown parameter of the catalogue": Refusal("/data?x=1", 422, "unknown_parameter"),
    "an unknown parameter of loads": Refusal(
        "/operations/loads?produkt=shop", 422, "unknown_parameter", "operator", says='"product"'
    ),
    "an unknown parameter of reasons": Refusal(
        "/operations/rejects/reasons?rule=x", 422, "unknown_parameter", "operator"
    ),
    "an unknown parameter of keys": Refusal("/keys?sate=all", 422, "unknown_parameter", "admin"),
    "an unknown parameter of a push": Refusal(f"{EVENTS}?mode=append", 422, "unknown_parameter", "writer", "POST"),
    "a filter twice": asked("size=1&size=2", "duplicate_parameter", says='"size"'),
    "a limit twice": asked("limit=1&limit=1", "duplicate_parameter"),
    "a property to sort by twice": asked("sort=size,-size", "duplicate_parameter"),
    "a status of loads twice": Refusal(
        "/operations/loads?status=failed&status=failed", 422, "duplicate_parameter", "operator"
    ),
    "a state of keys twice": Refusal("/keys?state=all&state=all", 422, "duplicate_parameter", "admin"),
    "SQL as a name": asked("id;drop table things=1", "unknown_parameter"),
    "SQL as an order": asked("sort=id;drop table things", "unknown_parameter"),
    "a quote in a name": asked('id"--=1', "unknown_parameter"),
    "SQL as what is measured": Refusal(f"{THINGS}/aggregate?measure=avg:id;drop table", 422, "unknown_parameter"),
    "a function of Postgres as a measure": Refusal(f"{THINGS}/aggregate?measure=pg_sleep:id", 422, "invalid_value"),
}
FORMS = {
    "a method that is not taken": Refusal(
        RECORDS, 405, "method_not_allowed", method="POST", shows=("allow", "GET, HEAD, OPTIONS")
    ),
    "a method that nothing takes": Refusal(
        "/livez", 405, "method_not_allowed", "", "PATCH", shows=("allow", "GET, HEAD, OPTIONS")
    ),
    "a key that is put": Refusal("/keys", 405, "method_not_allowed", "admin", "PUT", shows=("allow", "POST")),
    "a form that is not offered": asked("", "not_acceptable", 406, headers={"Accept": "image/png"}, says="text/csv"),
    "a contract as a picture": Refusal("/data/shop/v1/contract", 406, "not_acceptable", headers={"Accept": "a/b"}),
    "XML pushed": pushed("<id/>", "unsupported_media_type", 415, headers={"Content-Type": "text/xml"},
                         shows=("accept-post", "application/x-ndjson")),
    "nothing said of what is pushed": pushed("{}", "unsupported_media_type", 415, headers={}),
    "a coding that is not taken": pushed("{}", "unsupported_media_type", 415,
                                         headers={**JSON, "Content-Encoding": "br"},
                                         shows=("accept-encoding", "gzip")),
    "a form as a load": posted("/operations/loads", "product=shop", "unsupported_media_type", 415,
                               headers={"Content-Type": "application/x-www-form-urlencoded"},
                               shows=("accept-post", "application/json")),
    "a form as an erasure": posted("/operations/erasures", "key=1", "unsupported_media_type", 415,
                                   headers={"Content-Type": "application/x-www-form-urlencoded"}),
    "a dismissal over 64 KB": posted("/operations/dismissals", " " * 70_000, "body_too_large", 413),
    "text as a key": posted("/keys", "{}", "unsupported_media_type", 415, headers={"Content-Type": "text/plain"}),
    "no JSON": pushed('{"id": 1', "invalid_json", 400),
    "no JSON as a load": posted("/operations/loads", "{product}", "invalid_json", 400),
    "JSON that is 33 deep": pushed('{"id":' + "[" * 32 + "]" * 32 + "}", "invalid_json", 400),
    "JSON that is 100,000 deep": pushed("[" * 100_000, "invalid_json", 400),
    "a load 33 deep": posted("/operations/loads", '{"product":' + "[" * 32 + "]" * 32 + "}", "invalid_json", 400),
    "a key 60,000 deep": posted("/keys", "[" * 60_000, "invalid_json", 400),
    "a list as a load": posted("/operations/loads", "[]", "invalid_value"),
    "an unquoted Idempotency-Key": posted("/operations/loads", "{}", "invalid_idempotency_key", 400,
                                          headers={**JSON, "Idempotency-Key": "a b"}),
    "a body over 1 MB": posted("/operations/loads", " " * 1_000_001, "body_too_large", 413),
    "a body over what a load may have": posted("/operations/loads", " " * 70_000, "body_too_large", 413),
    "a push over 10 MB": pushed(" " * 10_000_001, "body_too_large", 413),
    "an address over 8 KB": asked("name=" + "x" * 8192, "uri_too_long", 414),
    "headers over 16 KB": asked("", "headers_too_large", 431, headers={"X-Long": "x" * 16_384}),
}  # fmt: skip
CREDENTIALS = {
    "a key in a parameter": asked("api_key=<reader>", "key_in_url", 400, caller=""),
    "a key in a parameter of another name": asked("name=<reader>", "key_in_url", 400, caller=""),
    "a key in the path": Refusal(f"{RECORDS}/<reader>", 400, "key_in_url", ""),
    "a token in a parameter": asked("access_token=eyJ.x.y", "key_in_url", 400, caller=""),
    "a key beside its header": asked("token=<reader>", "key_in_url", 400),
    "a key without the scope to push": pushed("{}", "insufficient_scope", 403, caller="reader",
                                              shows=("www-authenticate", 'scope="shop:write"')),
    "a key without the scope to operate": Refusal("/operations/loads", 403, "insufficient_scope",
                                                  shows=("www-authenticate", 'scope="ops:read"')),
    "a key without the scope to erase": posted("/operations/erasures", "{}", "insufficient_scope", 403,
                                               caller="admin", shows=("www-authenticate", 'scope="ops:write"')),
    "a key without the scope for keys": Refusal("/keys", 403, "insufficient_scope"),
    "a key without the scope for provenance": Refusal(f"{RECORDS}/1/provenance", 403, "insufficient_scope"),
    "a key of another product": Refusal(RECORDS, 404, "not_found", "stranger"),
    "a key of another product that pushes": pushed("{}", "not_found", 404, caller="stranger"),
    "a key of another product in the dark": Refusal("/data/shop/v1/nope/x", 404, "not_found", "stranger"),
    "a forged cursor": asked("sort=-id&cursor=<cursor forged>", "invalid_cursor"),
    "a cursor that was cut off": asked("sort=-id&cursor=<cursor cut off>", "invalid_cursor"),
    "a cursor of another order": asked("sort=id&cursor=<cursor>", "invalid_cursor"),
    "a cursor of another filter": asked("sort=-id&size=3&cursor=<cursor>", "invalid_cursor"),
    "a cursor of another dataset": Refusal(
        "/data/shop/v1/readings/records?sort=-id&cursor=<cursor>", 422, "invalid_cursor"
    ),
    "a cursor longer than any": asked("cursor=" + "A" * 5000, "invalid_cursor"),
}  # fmt: skip
# What only our own code, Postgres or its driver says.
INNER_WORDS = ("SELECT", "Traceback", ".py", "psycopg", "decant.", "shop_v1", "/tmp/")
TABLE = TEXTS | NUMBERS | LIMITS | NAMES | FORMS | CREDENTIALS


@pytest.mark.parametrize("name", TABLE)
def test_a_request_is_refused_for(ground: Ground, name: str) -> None:
    refusal = TABLE[name]
    answer = ground.send(refusal)
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    body = answer.json()
    assert (answer.status_code, body["code"]) == (refusal.status, refusal.code), body
    assert body["status"] == KINDS[refusal.code].status == refusal.status
    assert set(body) >= {"type", "title", "detail", "instance", "trace_id"}
    assert refusal.says in answer.text
    assert answer.headers["cache-control"] == "no-store"
    if refusal.shows:
        header, part = refusal.shows
        assert part in answer.headers[header]
    assert not [word for word in INNER_WORDS if word in answer.text]
    allowed = [name for error in body.get("errors", []) for name in error.get("allowed", [])]
    assert not [name for name in allowed if "pin" in name or name.startswith("_")]


def test_a_credential_that_is_missing_or_bad_gets_one_answer_whatever_is_wrong_with_it(ground: Ground) -> None:
    bad = [
        {"X-API-Key": ground.words[kind]} for kind in ("expired", "revoked", "unknown", "wrong", "mistyped", "cut")
    ]
    bad += [{"X-API-Key": text} for text in ("", "dcnt_", "nonsense", "a.b.c", "x" * 9000)]
    bad += [
        {"Authorization": text} for text in ("Bearer", "Basic YTpi", "Bearer x y", f"Key {ground.words['reader']}")
    ]
    bad += [{"Authorization": "Bearer nonsense", "X-API-Key": ground.words["reader"]}]
    for method, path in (("GET", RECORDS), ("POST", EVENTS), ("GET", "/keys"), ("GET", "/data/nothing/v1/at/all")):
        answers = [ground.client.request(method, path, headers=headers) for headers in bad]
        bodies = [{k: v for k, v in answer.json().items() if k not in {"trace_id", "instance"}} for answer in answers]
        assert {answer.status_code for answer in answers} == {401}
        assert all(body == bodies[0] for body in bodies)
        challenges = {answer.headers["www-authenticate"] for answer in answers}
        assert challenges == {'Bearer realm="decant", error="invalid_token"'}
        nobody = ground.client.request(method, path)
        assert {k: v for k, v in nobody.json().items() if k not in {"trace_id", "instance"}} == bodies[0]
        assert nobody.headers["www-authenticate"] == 'Bearer realm="decant"'


def test_what_was_refused_broke_nothing(ground: Ground) -> None:
    answer = ground.send(Refusal(f"{RECORDS}?sort=-id", 200, ""))
    assert [record["id"] for record in answer.json()["data"]] == [3, 2, 1]
    assert ground.lab.rows("SELECT count(*) FROM decant.events") == [(0,)]
    assert ground.lab.rows("SELECT count(*) FROM decant.loads WHERE status = 'queued'") == [(0,)]
