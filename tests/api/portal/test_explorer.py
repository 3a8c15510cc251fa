"""The explorer: addresses, what they show, and what they hand on."""

from __future__ import annotations

import ast
import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
import vl_convert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.portal.explorer.changes import apply_form, remove_member
from api.portal.explorer.question import Exploration, encode_value
from api.portal.explorer.rounding import round_measure, show_measured
from tests.support.examples import examples
from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab
from tests.support.portal import load_shop

EXPLORE = "/browse/shop/v1/orders/explore"
API = "/data/shop/v1/orders"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
# Questions of many kinds, as they stand in addresses.
QUESTIONS = (
    "",
    "kind=a",
    "customer[ilike]=Customer%25&sort=-price",
    "price[gte]=10&price[lt]=20.5&properties=id,price",
    "kind[in]=a,%3Cc%3E",
    "group_by=kind",
    "group_by=kind&measure=count,sum:price&sort=-sum_price",
    "group_by=month(ordered_at)&measure=avg:price",
    "group_by=bin(price,10)",
    "kind[ne]=b&group_by=kind,month(ordered_at)",
    "q=customer&limit=5",
    "customer[null]=true",
    "group_by=month(ordered_at),kind&view=multiples",
    "group_by=month(ordered_at),kind,customer&limit=1000",
)


@pytest.fixture
def client(product: Callable[[Any], Lab]) -> Any:
    """A client of the shop."""
    with product(load_shop).serve() as found:
        yield found


def cells(text: str) -> list[list[str]]:
    """The cells of the answer's table."""
    body = re.search(r'aria-label="The answer">.*?<tbody>(.*?)</tbody>', text, re.S)
    rows = re.findall(r"<tr>(.*?)</tr>", body[1], re.S) if body else []
    return [[read_cell(cell) for cell in re.findall(r"<td(?: class=\"\w+\")?>(.*?)</td>", row)] for row in rows]


def read_cell(cell: str) -> str:
    """What a cell says; of a rounded number the exact one, once what is shown is seen to be it, rounded."""
    text = html.unescape(re.sub(r"<[^>]+>", "", cell))
    data = re.match(r'<data value="([^"]+)" title="exactly ([^"]+)">', cell)
    if data is None:
        return text
    exact, seen = Decimal(data[1]), Decimal(text.replace(",", ""))
    assert data[1] == data[2]
    places = max(-int(seen.as_tuple().exponent), 0)
    assert data[1] != text
    if "," in text:
        assert text == f"{seen:,}"
    assert abs(exact - seen) <= Decimal(5).scaleb(-max(places, 4) - 1), "rounded, and not cut off"
    return data[1]


def shown(value: Any) -> str:
    """A value of an answer as a page shows it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("query", QUESTIONS)
def test_a_page_shows_exactly_what_the_question_that_it_names_answers(client: httpx.Client, query: str) -> None:
    page = client.get(f"{EXPLORE}?{query}" if query else EXPLORE)
    assert page.status_code == 200
    asked = [html.unescape(each) for each in re.findall(r"<code>GET ([^<]+)</code>", page.text)]
    [address] = [each for each in asked if each.startswith((f"{API}/records", f"{API}/aggregate"))]
    assert "at=2" in address
    answer = client.get(address).json()
    assert cells(page.text) == [
        [shown(value).replace("\u202e", "\\u202e") for value in row.values()] for row in answer["data"]
    ]


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (12.639070257304709, 4, "12.6391"),
        (-4.485839978003849, 4, "-4.4858"),
        (0.30000000000000004, 6, "0.3"),
        ("0.000012345678", 4, "0.00001235"),
        ("1234567.33333333333333", 6, "1234567.333333"),
        (107, 4, None),
        ("12.50", 6, None),
        ("100000000000000000000.1", 4, None),
        (1e300, 4, None),
        ("2026-01-01T00:00:00Z", 4, None),
        (None, 4, None),
        (True, 4, None),
        ("NaN", 4, None),
    ],
)
def test_a_measure_is_shown_with_the_digits_that_say_something(
    value: object, decimals: int, expected: str | None
) -> None:
    assert round_measure(value, decimals) == expected


@pytest.mark.parametrize(
    ("value", "decimals", "least", "expected"),
    [
        (9788152, None, 4, "9,788,152"),
        (2013, None, 5, None),
        (20130, None, 5, "20,130"),
        ("-1234567890123456789.50", None, 5, "-1,234,567,890,123,456,789.50"),
        (1234.56789, 4, 4, "1,234.5679"),
        ("1234.5", 4, 5, None),
        (1e300, None, 4, None),
        ("0012345", None, 4, None),
        (None, None, 4, None),
        (True, None, 4, None),
        (12345, None, None, None),
    ],
)
def test_thousands_are_separated_where_nothing_but_the_look_changes(
    value: object, decimals: int | None, least: int | None, expected: str | None
) -> None:
    assert show_measured(value, decimals, least) == expected


def test_numbers_stand_at_the_right_and_have_their_exact_value_beside_them(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("maximum: 150", "maximum: 99999"))
    lab.ingest("people.people", "id,name,age,born\n12345,Ann,2013,\n23456,Ben,54321,\n")
    with lab.serve() as client:
        big = '<td class="right"><data value="54321" title="exactly 54321">54,321</data></td>'
        for page in ("/browse/people/v1/people", "/browse/people/v1/people/explore"):
            text = client.get(page).text
            assert big in text
            assert '<td class="right">2013</td>' in text, "a year stays a year"
            assert ">12345</a></td>" in text, "a key stays a key"
        summed = client.get("/browse/people/v1/people/explore?group_by=name,bin(id,10000)&measure=sum:age").text
        assert '<data value="2013" title="exactly 2013">2,013</data>' in summed
        assert '<td class="right"><data value="10000" title="exactly 10000">10,000</data></td>' in summed
        assert "54,321" not in client.get("/data/people/v1/people/export?format=csv", follow_redirects=True).text


@pytest.mark.slow
def test_a_mean_is_rounded_on_the_page_and_exact_beside_it(client: httpx.Client) -> None:
    query = "id[in]=2,3,5&measure=avg:id,min:id"
    [row] = client.get(f"{API}/aggregate?{query}").json()["data"]
    text = client.get(f"{EXPLORE}?{query}").text
    exact = str(row["avg_id"])
    assert exact.startswith("3.33333333")
    assert f'<data value="{exact}" title="exactly {exact}">3.3333</data>' in text
    assert f">{row['min_id']}</td>" in text


CONDITIONS = st.sampled_from(
    [
        *("kind=a", "kind[ne]=b", "kind[in]=a,%3Cc%3E", "price[gte]=12.5", "price[lt]=40", "customer[ilike]=*3"),
        *("customer[null]=true", "ordered_at[gte]=2026-01-10T00:00:00Z", "q=customer", "id[lte]=30"),
    ]
)
GROUPS = st.sampled_from(["kind", "customer", "month(ordered_at)", "day(ordered_at)", "bin(price,10)", "bin(id,7)"])
MEASURED = st.sampled_from(
    ["count", "sum:price", "avg:price", "distinct:customer", "max:ordered_at", "median:price", "avg:id"]
)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """An address of the explorer."""
    parts = draw(st.lists(CONDITIONS, max_size=2, unique=True))
    groups = draw(st.lists(GROUPS, max_size=3, unique=True))
    if groups:
        parts += [f"group_by={','.join(groups)}"]
        parts += [f"measure={','.join(draw(st.lists(MEASURED, min_size=1, max_size=2, unique=True)))}"]
    parts += draw(st.sampled_from([[], ["at=1"], ["at=2"]]))
    parts += draw(st.sampled_from([[], ["view=multiples"], ["view=table"], ["facet=kind"]]))
    return "&".join(parts)


@pytest.mark.slow
@settings(max_examples=examples(200, 12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=addresses())
def test_whatever_is_asked_the_page_shows_what_the_api_answers(client: httpx.Client, query: str) -> None:
    page = client.get(f"{EXPLORE}?{query}", follow_redirects=True)
    assert page.status_code == 200, query
    asked = [html.unescape(each) for each in re.findall(r"<code>GET ([^<]+)</code>", page.text)]
    # What a facet counts has a limit of its own.
    [address] = [
        each for each in asked if each.startswith((f"{API}/records", f"{API}/aggregate")) and "limit=20" not in each
    ]
    answer = client.get(address).json()
    assert f"at={1 if 'at=1' in query.split('&') else 2}" in address
    rows = [[shown(value).replace("\u202e", "\\u202e") for value in row.values()] for row in answer["data"]]
    assert cells(page.text) == rows


def test_a_walk_stays_in_its_revision_and_sees_each_record_once(client: httpx.Client) -> None:
    address, found = f"{EXPLORE}?limit=20", []
    for _ in range(10):
        page = client.get(address)
        found += [row[0] for row in cells(page.text)]
        following = re.search(r'class="button" href="([^"]*explore[^"]*cursor=[^"]*)"', page.text)
        if following is None:
            break
        address = html.unescape(following[1])
        assert "at=2" in address
    assert len(found) == len(set(found)) == 60


def test_a_form_leads_to_the_plain_address_of_its_question(client: httpx.Client) -> None:
    form = {"kind": "a", "_add_property": "price", "_add_operator": "gte", "_add_value": "10", "_add_group": ""}
    moved = client.get(EXPLORE, params=form)
    assert (moved.status_code, moved.headers["location"]) == (302, f"{EXPLORE}?kind=a&price[gte]=10")
    form = {
        "_question": "kind[in]=a,%3Cc%3E",
        "_add_property": "customer",
        "_add_operator": "ilike",
        "_add_value": "C%",
    }
    moved = client.get(EXPLORE, params=form)
    assert moved.headers["location"] == f"{EXPLORE}?kind[in]=a,%3Cc%3E&customer[ilike]=C%25"
    form = {"_add_group": "price", "_add_bucket": "10", "_add_measure": "sum", "_add_of": "price"}
    moved = client.get(EXPLORE, params=form)
    assert moved.headers["location"] == f"{EXPLORE}?group_by=bin(price,10)&measure=sum:price"
    assert client.get(moved.headers["location"]).status_code == 200


def test_what_is_wrong_is_said_beside_the_form(client: httpx.Client) -> None:
    for query in ("nonsense=1", "price[gte]=x", "group_by=nothing", "at=99", "cursor=x"):
        page = client.get(f"{EXPLORE}?{query}")
        assert page.status_code in {404, 410, 422}
        assert page.headers["cache-control"] == "no-store"
        assert 'role="alert"' in page.text
        kind = "aggregate" if "group_by" in query else "records"
        detail = client.get(f"{API}/{kind}?{query}").json()["detail"]
        assert html.unescape(page.text).count(detail) == 1
        assert "Add filter" in page.text
    assert client.get("/browse/shop/v1/nothing/explore").status_code in {401, 404}


def test_a_chart_is_drawn_of_up_to_a_thousand_groups_where_no_limit_is_given(client: httpx.Client) -> None:
    query = "group_by=id,kind&measure=count"
    for view, limit in (("heat", 1000), ("table", None)):
        text = html.unescape(client.get(f"{EXPLORE}?{query}&view={view}").text)
        [address] = re.findall(r"<code>GET ([^<]*/aggregate[^<]*)</code>", text)
        assert ("limit=1000" in address) == (limit is not None)
        # What leads on from the page names the limit only where somebody has.
        assert not [link for link in re.findall(r'href="([^"]*/explore[^"]*)"', text) if "limit=" in link]
    given = html.unescape(client.get(f"{EXPLORE}?{query}&limit=20").text)
    assert "limit=20" in re.findall(r"<code>GET ([^<]*/aggregate[^<]*)</code>", given)[0]


def test_a_measure_without_the_property_that_it_needs_is_explained_until_it_has_one(client: httpx.Client) -> None:
    moved = client.get(EXPLORE, params={"_question": "group_by=kind", "_add_measure": "avg"})
    assert moved.headers["location"] == f"{EXPLORE}?group_by=kind&measure=avg"
    page = client.get(moved.headers["location"])
    assert page.status_code == 422
    said = "The measure avg needs a property: choose one that holds numbers under “of”."
    assert page.text.count(said) == 2, "above, and beside the field"
    assert "avg:property" not in page.text.partition("<footer")[0]
    assert "<option selected>avg</option>" in page.text
    assert 'name="_add_of" aria-invalid="true" aria-describedby="of-wrong"' in page.text
    assert f'<li><a href="{EXPLORE}?group_by=kind" data-key="chip"><span>measure avg</span>' in page.text
    assert client.get(f"{EXPLORE}?group_by=kind").status_code == 200
    unfit = client.get(f"{EXPLORE}?group_by=kind&measure=avg:customer")
    assert unfit.text.count("The measure avg does not fit customer: choose one that holds numbers under “of”.") == 2
    assert "<option selected>customer</option>" in unfit.text
    form = {"_question": "group_by=kind&measure=avg:customer", "_add_measure": "avg", "_add_of": "price"}
    moved = client.get(EXPLORE, params=form | {"_add_instead": "avg:customer"})
    assert moved.headers["location"] == f"{EXPLORE}?group_by=kind&measure=avg:price"
    form = {"_question": "group_by=kind&measure=count,avg", "_add_measure": "avg", "_add_of": "price"}
    moved = client.get(EXPLORE, params=form)
    assert moved.headers["location"] == f"{EXPLORE}?group_by=kind&measure=count,avg:price"


def test_explored_pages_are_kept_from_search_engines(client: httpx.Client) -> None:
    assert '<meta name="robots" content="noindex, nofollow">' in client.get(EXPLORE).text
    assert "Disallow: /*/explore" in client.get("/robots.txt").text


@pytest.mark.slow
@pytest.mark.parametrize(
    "query", ["", "kind=a&price[lt]=20", "group_by=kind&measure=sum:price", "kind[in]=a,%3Cc%3E"]
)
def test_snippets_run_as_they_stand(client: httpx.Client, query: str, tmp_path: Any) -> None:
    text = client.get(f"{EXPLORE}?{query}" if query else EXPLORE).text
    snippets = snippets_of(text)
    of_charts = {"Vega-Lite", "Altair"} if "group_by" in query else set()
    assert set(snippets) == {"curl", "Python", "JavaScript", "DuckDB"} | of_charts
    kind = "aggregate" if "group_by" in query else "records"
    whole = client.get(f"{API}/{kind}?{query}&limit=1000").json()["data"]

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(sys.executable, "-c", snippets["Python"]).split()[0] == str(len(whole))
    if shutil.which("node"):
        (tmp_path / "ask.mjs").write_text(snippets["JavaScript"])
        assert run("node", "ask.mjs").split()[0] == str(len(whole))
    assert '"data":[' in run("sh", "-c", snippets["curl"])
    told = run(sys.executable, "-c", snippets["DuckDB"])
    assert f"[({len(whole)},)]" in told or all(str(value) in told for group in whole for value in group.values())


@pytest.mark.slow
def test_snippets_of_a_closed_dataset_send_the_key_of_the_environment(
    product: Callable[[Any], Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    lab = product(load_shop)
    headers = key_of(lab, "people:read")
    monkeypatch.setenv("DECANT_KEY", headers["X-API-Key"])
    with lab.serve() as client:
        for query in ("", "?group_by=name&measure=avg:age"):
            text = client.get(f"/browse/people/v1/people/explore{query}", headers=headers).text
            assert headers["X-API-Key"] not in text
            snippets = snippets_of(text)
            commands = {"curl": ["sh", "-c"], "Python": [sys.executable, "-c"], "DuckDB": [sys.executable, "-c"]}
            if shutil.which("node"):
                commands["JavaScript"] = ["node", "--input-type=module", "-e"]
            for name, command in commands.items():
                done = subprocess.run(
                    [*command, snippets[name]], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
                )
                assert (done.returncode, name) == (0, name), done.stderr
                assert "Hedwig" in done.stdout or "[(1,)]" in done.stdout, (name, done.stdout)
        page = html.unescape(client.get("/browse/people/v1/people", headers=headers).text)
        for command in re.findall(r"curl -gL .+?'http.+?'", page):
            assert (
                "Hedwig" in subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
            )
        assert page.count("curl -gL") == 2


def snippets_of(text: str) -> dict[str, str]:
    """The programs of a page, by name."""
    note = "(?:<p class[^>]*>[^<]*</p>)?"
    found = re.findall(rf'<summary>([\w-]+)</summary>{note}<pre tabindex="0"><code>(.*?)</code>', text, re.S)
    return {name: html.unescape(code) for name, code in found}


@pytest.mark.parametrize(
    "query",
    [
        "group_by=kind&measure=sum:price&at=2",
        "kind[ne]=a&group_by=month(ordered_at),kind&measure=avg:price",
        "group_by=bin(price,10),kind&view=multiples",
    ],
)
def test_a_chart_is_taken_along_as_a_specification_that_draws_the_answer(client: httpx.Client, query: str) -> None:
    snippets = snippets_of(client.get(f"{EXPLORE}?{query}").text)
    shared = json.loads(snippets["Vega-Lite"])
    assert shared["data"]["format"] == {"type": "json", "property": "data"}
    expected = {*query.replace("&view=multiples", "").split("&"), "limit=1000"}
    assert set(shared["data"]["url"].partition("?")[2].split("&")) == expected
    answer = client.get(shared["data"]["url"]).json()
    vl_convert.vegalite_to_vega(shared)
    svg = vl_convert.vegalite_to_svg(shared | {"data": {"values": answer["data"]}})
    # As many marks as the answer has groups that are drawn.
    assert svg.count('aria-roledescription="bar"') + svg.count('aria-roledescription="line') > 1
    program = ast.parse(snippets["Altair"])
    assigned = next(line.value for line in program.body if isinstance(line, ast.Assign))
    assert ast.literal_eval(assigned) == shared
    compile(program, "snippet", "exec")


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_an_address_says_the_same_however_often_it_is_read(parts: list[tuple[str, str]]) -> None:
    question = Exploration()
    for name, value in parts:
        question = question.add(name, encode_value(value))
    again = Exploration.read(question.address)
    assert again.address == question.address
    assert sorted(again.parts) == sorted(question.parts)


@pytest.mark.parametrize(
    ("operator", "value", "becomes"),
    [
        ("gte", "2013-06-01", "2013-06-01T00:00:00"),
        ("gte", "2013-06-01T10:00:00Z", "2013-06-01T10:00:00Z"),
        ("in", "2013-06-01,2013-06-02", "2013-06-01T00:00:00,2013-06-02T00:00:00"),
        ("gte", "June", "June"),
    ],
)
def test_a_day_that_a_form_gives_for_a_moment_is_its_beginning(operator: str, value: str, becomes: str) -> None:
    form = {"_add_property": "at", "_add_operator": operator, "_add_value": encode_value(value)}
    asked = Exploration.of(form.items())
    assert apply_form(asked, ["at"]).value(f"at[{operator}]") == becomes
    assert apply_form(asked, ["on"]).value(f"at[{operator}]") == value


@given(st.lists(TEXTS.filter(lambda text: "(" not in text and ")" not in text), min_size=1, max_size=4, unique=True))
def test_members_of_a_list_come_and_go_alone(names: list[str]) -> None:
    question = Exploration()
    for name in names:
        question = apply_form(question.add("_add_group", encode_value(name)))
    assert question.values("group_by") == names
    for left in range(len(names) - 1, -1, -1):
        question = remove_member(question, "group_by", 0)
        assert question.values("group_by") == names[len(names) - left :]


def test_files_and_programs_are_of_the_revision_that_is_pinned(client: httpx.Client) -> None:
    text = client.get(f"{EXPLORE}?kind=a&at=1").text
    files = [html.unescape(each) for each in re.findall(r'href="([^"]*/export\?[^"]*)"', text)]
    assert len(files) == 5
    for address in files:
        assert address.endswith("&kind=a&at=1")
        assert client.get(address).headers["decant-revision"] == "1"
    assert "&amp;kind=a&amp;at=1" in text[text.index("DuckDB") :]


@pytest.mark.slow
def test_a_filter_takes_the_place_of_one_on_the_same_property(client: httpx.Client) -> None:
    text = client.get(f"{EXPLORE}?kind=a").text
    assert "explore?kind=b" in text
    assert "kind=a&amp;kind=b" not in text
    moved = client.get(EXPLORE, params={"_question": "kind=a", "_add_property": "kind", "_add_value": "b"})
    assert moved.headers["location"] == f"{EXPLORE}?kind=b"
    grouped = client.get(EXPLORE, params={"_question": "kind=a&properties=id&sort=id", "_add_group": "kind"})
    assert grouped.headers["location"] == f"{EXPLORE}?kind=a&group_by=kind"
