"""Pages: what they show, to whom, and how they are kept."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from api.portal.charts.drawing import DRAWER, WAITING_MAXIMUM
from api.portal.pages.rules import rules_of
from api.portal.rendering import write_figure, write_name
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.portal import load_shop, shop_file
from tests.support.visitor import without_way_back

ORDERS = "/browse/shop/v1/orders"
PAGES = (
    *("/", "/browse", "/browse/shop/v1", "/browse/shop/v1/contract", ORDERS, f"{ORDERS}/explore"),
    *(f"{ORDERS}/properties/price", f"{ORDERS}/properties/customer"),
    *(f"{ORDERS}/records/0", f"{ORDERS}/diff", f"{ORDERS}/revisions"),
    *("/reports", "/reports/sales", "/reports/broken"),
)
OURS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "main", "footer", "nav", "section"),
    *(
        "a",
        "aside",
        "div",
        "span",
        "p",
        "h1",
        "h2",
        "h3",
        "ol",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "code",
        "pre",
        "strong",
        "em",
    ),
    *(
        "form",
        "fieldset",
        "legend",
        "select",
        "option",
        "label",
        "input",
        "button",
        "details",
        "summary",
        "time",
        "figure",
        "figcaption",
        "article",
    ),
    *("wbr", "data"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "path", "rect", "g", "line", "text"),
}
Product = Callable[[Callable[..., Lab]], Lab]


class Elements(HTMLParser):
    """The elements of a page, and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


@pytest.mark.parametrize("path", PAGES)
def test_texts_from_outside_are_shown_and_never_obeyed(product: Product, path: str) -> None:
    with product(load_shop).serve() as client:
        page = client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.text
    found = Elements()
    found.feed(text)
    assert set(found.names) <= OURS
    assert not {name for name, _ in found.attributes} & {"style", "onerror", "onclick", "onload", "srcdoc"}
    addresses = {str(value) for name, value in found.attributes if name in {"href", "src", "action"}}
    assert [address for address in addresses if not address.startswith(("/", "#", "mailto:", "http"))] == []
    assert re.sub(r"<svg.*?</svg>", "", text, flags=re.S).count("</title>") == 1
    assert "\u202e" not in text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_kept_by_the_answers_that_it_shows(product: Product, path: str) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        page = client.get(path)
        assert page.headers["cache-control"] == "public, max-age=60"
        assert "Cookie" in page.headers["vary"]
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert page.headers["referrer-policy"] == "same-origin"
        again = client.get(path, headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = client.head(path)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", page.headers["etag"])
        known = client.get(path, headers=key_of(lab, "shop:read"))
        assert known.headers["cache-control"] == "private, no-cache"
        assert known.headers["etag"] != page.headers["etag"]
        packed = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.text == page.text


def test_the_dataset_shows_rules_figures_and_failing_checks_in_the_row(product: Product) -> None:
    with product(load_shop).serve() as client:
        text = client.get(ORDERS).text
    rows = dict(re.findall(r"properties/([\w%]+)\"><code>.*?(</tr>)", text, re.S))
    assert set(rows) >= {"id", "customer", "price", "kind", "ordered_at"}
    customer = text[text.index("properties/customer") : text.index("properties/price")]
    assert "No value: 1, allowed &lt; 1 (warning)" in customer
    kind = text[text.index("properties/kind") : text.index("properties/ordered_at")]
    assert "one of a, b, &lt;c&gt;" in kind
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\\u202egnp.exe" in text
    assert re.search(r"Revision</dt><dd>2", text)
    assert f"http://{client.base_url.netloc.decode()}/data/shop/v1/orders/records?at=2" in text


def test_a_dataset_counts_the_checks_that_it_lists(product: Product) -> None:
    with product(load_shop).serve() as client:
        text = client.get(ORDERS).text
        board = client.get("/").text
        counted = client.get("/data/shop/v1/orders").json()["data"]["quality"]["rules"]
    listed = re.findall(r'<span class="state \w+">(passed|failed|warning)</span>', text)
    assert (listed.count("passed"), listed.count("failed"), listed.count("warning")) == (3, 0, 1)
    assert '<a href="#checks">3 passed, 1 warning</a>' in text
    assert "<code>null<wbr>Values(customer)</code>" in text[text.index('id="checks"') :]
    assert "<td>3 passed, 1 warning</td>" in board
    assert counted == {"kept": 3, "broken": 0, "warnings": 1}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("scheduled_departure", "scheduled_<wbr>departure"),
        ("_id__x", "_<wbr>id_<wbr>_<wbr>x"),
        ("orderLines", "order<wbr>Lines"),
        ("airport-checkpoints", "airport-<wbr>checkpoints"),
        ("plain", "plain"),
        ("<b>_x", "&lt;b&gt;_<wbr>x"),
    ],
)
def test_a_name_is_broken_between_its_words_alone(name: str, shown: str) -> None:
    assert str(write_name(name)) == shown


def test_a_page_names_the_questions_that_it_is_made_of(product: Product) -> None:
    with product(load_shop).serve() as client:
        text = client.get(ORDERS).text
        asked = re.findall(r"<code>GET ([^<]+)</code>", text)
        assert "/data/shop/v1/orders/records?limit=10&amp;at=2" in asked
        for address in asked:
            assert client.get(address.replace("&amp;", "&")).status_code == 200


def test_what_is_not_open_is_not_told_of(product: Product) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        for path in (*PAGES, "/catalog.jsonld", "/sitemap.xml", "/.well-known/api-catalog", "/robots.txt"):
            assert "people" not in client.get(path).text
        closed = client.get("/browse/people/v1/people")
        assert closed.status_code == 401
        assert closed.headers["www-authenticate"] == 'Bearer realm="decant"'
        assert closed.headers["content-type"].startswith("text/html")
        missing = client.get("/browse/nothing/v1/people")
        assert (missing.status_code, without_way_back(missing.text)) == (401, without_way_back(closed.text))
        seen = client.get("/browse/people/v1/people", headers=key_of(lab, "people:read"))
        assert "Hedwig" in seen.text
        assert client.get(f"{ORDERS}/properties/nothing").status_code == 404
        # What machines are told is what anybody may see, whoever asks.
        told = client.get("/catalog.jsonld", headers=key_of(lab, "people:read"))
        assert told.status_code == 200
        assert "people" not in told.text


@pytest.mark.slow
def test_a_page_is_counted_once_however_many_questions_it_asks(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine's slow statements would be charged as further requests.
    monkeypatch.setattr("api.database.connections.FREE_SECONDS", math.inf)
    lab = load_shop(lambda *contracts: make_lab(*contracts, rate_limit_anonymous="3/hour"))
    with lab.serve() as client:
        answers = [client.get(ORDERS) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[2].headers["ratelimit"].startswith('"default";r=0')
    assert "retry-after" in answers[3].headers


@pytest.mark.slow
def test_files_of_pages_never_change_and_others_are_not_served(product: Product) -> None:
    with product(load_shop).serve() as client:
        files = set(re.findall(r"(?:href|src)=\"(/assets/[^\"]+)\"", client.get("/").text))
        assert len(files) == 3
        for path in files:
            assert client.get(path).headers["cache-control"] == "public, max-age=31536000, immutable"
        for path in ("/assets/portal.css", "/assets/..%2fpage.py", "/assets/x"):
            assert client.get(path).status_code == 404


def test_a_host_that_is_none_is_not_repeated(product: Product) -> None:
    with product(load_shop).serve() as client:
        page = client.get(ORDERS, headers={"Host": 'evil.example"><script>'})
        assert "evil.example" not in page.text


def test_pages_are_small(product: Product) -> None:
    with product(load_shop).serve() as client:
        for path in PAGES:
            packed = client.get(path, headers={"Accept-Encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert int(packed.headers["content-length"]) < (25_000 if "explore" in path else 15_000)

        def weight(path: str) -> int:
            body = client.get(path, headers={"Accept-Encoding": "identity"}).content
            return len(gzip.compress(body))

        explorer = client.get(f"{ORDERS}/explore").text
        scripts = re.findall(r"src=\"(/assets/[^\"]+\.js)\"", explorer)
        assert len(scripts) == 2
        assert sum(map(weight, scripts)) < 3_000
        for style in re.findall(r"href=\"(/assets/[^\"]+\.css)\"", explorer):
            assert weight(style) < 12_000


def changed_file() -> str:
    """The file of a third revision: order 5 is changed, and order 7 is gone."""
    text = shop_file("5,Changed,5.50,b,2026-01-06T10:00:00Z,x")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("7,"))


@pytest.mark.slow
def test_a_record_shows_its_earlier_versions(make_lab: Callable[..., Lab]) -> None:
    lab = load_shop(make_lab)
    lab.ingest("shop.orders", changed_file(), "orders.csv")
    with lab.serve() as client:
        text = client.get(f"{ORDERS}/records/5").text
        assert "Changed" in text
        earlier = text[text.index("Earlier versions") :]
        assert "Customer 5" in earlier
        assert "records/5?at=2" in earlier
        assert "Customer 5" in client.get(f"{ORDERS}/records/5?at=2").text
        assert client.get(f"{ORDERS}/records/7").status_code == 404
        assert client.get(f"{ORDERS}/records/7?at=2").status_code == 200
        assert client.get(f"{ORDERS}/records/x").status_code == 404
        # Where a record came from is told to operators alone.
        assert "Where it came from" not in text
        operator = client.get(f"{ORDERS}/records/5", headers=key_of(lab, "shop:read", "ops:read"))
        assert "Where it came from" in operator.text


@pytest.mark.slow
def test_a_comparison_shows_what_changed_cell_by_cell(make_lab: Callable[..., Lab]) -> None:
    lab = load_shop(make_lab)
    lab.ingest("shop.orders", changed_file(), "orders.csv")
    with lab.serve() as client:
        changes = client.get(f"{ORDERS}/diff?since=2&at=3").text
        row = changes[changes.index(">updated<") :]
        assert re.search(r"<code>customer</code></td><td>Customer 5</td><td>Changed</td>", row)
        assert ">deleted<" in changes
        empty = client.get(f"{ORDERS}/diff?since=3&at=3").text
        assert "Nothing that you may see is different" in empty
        wrong = client.get(f"{ORDERS}/diff?since=9")
        assert (wrong.status_code, 'role="alert"' in wrong.text) == (422, True)


@pytest.mark.slow
def test_answers_and_pages_lead_to_each_other(product: Product) -> None:
    with product(load_shop).serve() as client:
        for path, page in (
            ("/data", "/"),
            ("/data/shop/v1", "/browse/shop/v1"),
            ("/data/shop/v1/orders", ORDERS),
        ):
            assert f'<{page}>; rel="alternate"; type="text/html"' in client.get(path).headers["link"]
            assert f'<link rel="alternate" type="application/json" href="{path}">' in client.get(page).text


@pytest.mark.slow
def test_a_page_whose_chart_had_to_wait_is_kept_by_nobody(make_lab: Callable[..., Lab]) -> None:
    with load_shop(make_lab).serve() as client:
        path = f"{ORDERS}/properties/kind"
        DRAWER.waiting += WAITING_MAXIMUM  # the service runs in this process
        try:
            without = client.get(path)
        finally:
            DRAWER.waiting -= WAITING_MAXIMUM
        assert (without.status_code, without.headers["cache-control"]) == (200, "no-store")
        assert 'class="chart"' not in without.text
        whole = client.get(path)
        assert whole.headers["cache-control"] == "public, max-age=60"
        assert 'class="chart"' in whole.text


@pytest.mark.slow
def test_a_property_shows_how_its_figures_changed_over_the_last_revisions(product: Product) -> None:
    with product(load_shop).serve() as client:
        pages = {name: client.get(f"{ORDERS}/properties/{name}").text for name in ("customer", "price")}
        past = client.get("/data/shop/v1/orders/profile/history").json()["data"]
        reader = key_of(product(load_shop), "people:read")
        once = client.get("/browse/people/v1/people/properties/age", headers=reader)
    newest, oldest = ({each["property"]: each for each in entry["properties"]} for entry in past)
    assert (newest["customer"]["nulls"], oldest["customer"]["nulls"]) == (1, 0)

    def cells(name: str) -> list[list[str]]:
        """The texts of the rows, newest revision first."""
        table = pages[name].partition("Over the last revisions")[2].partition("<tbody>")[2].partition("</tbody>")[0]
        rows = table.split("</tr>")[:-1]
        return [[re.sub("<[^>]+>", "", cell).strip() for cell in re.split("</t[hd]>", row)[:-1]] for row in rows]

    assert cells("customer")[0][:4] == ["2", "60", "▲more than before: 1.7 %", "8"]
    assert cells("customer")[1][:4] == ["1", "60", "0", "8"]
    assert cells("price")[0] == ["2", "60", "0", "60", "30.02 (changed)", "1.00", "59.50"]
    assert cells("price")[1] == ["1", "60", "0", "60", "30.01", "1.00", "59.50"]
    assert once.status_code == 200
    assert "Over the last revisions" not in once.text, "there is one revision only"


@pytest.mark.slow
def test_an_unexpected_error_is_a_page_for_people_and_a_problem_for_programs(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret detail")

    with product(load_shop).serve() as client:
        monkeypatch.setattr("api.portal.pages.home.entries_of", fail)
        page = client.get("/")
        assert (page.status_code, page.headers["content-type"]) == (500, "text/html; charset=utf-8")
        assert "secret" not in page.text
        # What shows problems may be what fails.
        monkeypatch.setattr("api.portal.guard.render", fail)
        problem = client.get("/")
        assert (problem.status_code, problem.headers["content-type"]) == (500, "application/problem+json")


def test_counts_in_rules_and_figures_have_their_plural() -> None:
    limits = {"minLength": 1, "maxLength": 2000, "minItems": 1, "maxItems": 3, "minimum": 1}
    assert list(rules_of({"logicalTypeOptions": limits})) == [
        "at least 1 character",
        "at most 2,000 characters",
        "at least 1 item",
        "at most 3 items",
        "≥ 1",
    ]
    assert [write_figure(hours, "hour") for hours in (1.0, 0.5, 2, None)] == ["1 hour", "0.5 hours", "2 hours", "–"]
