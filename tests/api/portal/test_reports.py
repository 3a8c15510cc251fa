"""Reports as pages: numbers that lead back to their data, and notes where somebody may not see them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from runtime.settings.settings import Settings
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.portal import SHOP, load_shop, shop_file

SALES, BROKEN = "/reports/sales", "/reports/broken"
Product = Callable[[Callable[..., Lab]], Lab]


def addresses(page: httpx.Response) -> list[str]:
    """The questions that a page is made of."""
    return [html.unescape(each) for each in re.findall(r"<code>GET ([^<]+)</code>", page.text)]


def figures(page: httpx.Response) -> dict[str, str]:
    """The exact value of each figure, by its label."""
    found = re.findall(r'<dt>([^<]*)</dt><dd><span title="([^"]*)">', page.text)
    return {html.unescape(label): value for label, value in found}


@pytest.mark.slow
def test_figures_are_the_answers_of_the_questions_that_they_name(product: Product) -> None:
    with product(load_shop).serve() as client:
        page = client.get(SALES)
        assert page.status_code == 200
        shown = figures(page)
        asked = [address for address in addresses(page) if "/aggregate" in address and "group_by" not in address]
        answers = [str(next(iter(client.get(address).json()["data"][0].values()))) for address in asked]
        assert sorted(shown.values()) == sorted(answers)
        assert shown["orders <i>in all</i>"] == "60"
        assert "€" in page.text


@pytest.mark.slow
def test_every_block_is_of_one_revision_says_so_and_leads_to_the_explorer(product: Product) -> None:
    with product(load_shop).serve() as client:
        page = client.get(SALES)
        asked = [address for address in addresses(page) if re.search("/(aggregate|records)", address)]
        assert len(asked) == 4
        assert all("at=2" in address for address in asked)
        links = [html.unescape(each) for each in re.findall(r'href="([^"]*/explore[^"]*)"', page.text)]
        assert len(links) == 4
        for link in links:
            assert "at=2" in link
            assert client.get(link).status_code == 200
        foot = page.text[page.text.index("What this report read") :]
        assert re.search(r'<a href="/browse/shop/v1/orders">orders</a>, revision 2', foot)


@pytest.mark.slow
def test_a_chart_has_its_table_and_a_question_keeps_its_limit(product: Product) -> None:
    with product(load_shop).serve() as client:
        page = client.get(SALES)
        chart = page.text[page.text.index('class="part chart"') : page.text.index('class="part table"')]
        assert "Mean price by kind &lt;/figcaption&gt;" in chart
        assert '<th scope="col" class="right">mean price</th>' in chart
        assert "<svg" in chart
        table = page.text[page.text.index('class="part table"') :]
        assert table[: table.index("</table>")].count("<tr>") == 1 + 3
        assert "the first 3 rows" in table


def test_a_reader_without_the_product_sees_a_note_and_no_number(product: Product) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        page = client.get(SALES)
        assert "Hedwig" not in page.text
        assert "years of everybody" not in figures(page)
        assert page.text.count("data that you may not read, or that is not there") == 1
        assert "/browse/people" not in page.text
        seen = client.get(SALES, headers=key_of(lab, "people:read"))
        assert figures(seen)["years of everybody"] == "30"
        assert "Hedwig" in seen.text
        assert "may not read" not in seen.text
        assert seen.headers["etag"] != page.headers["etag"]


@pytest.mark.slow
def test_a_dataset_that_is_not_there_and_one_that_is_closed_look_alike(make_lab: Callable[..., Lab]) -> None:
    lab = load_shop(make_lab)
    head = "---\ntitle: T\ndescription: D\n---\n"
    for name, dataset in (("aaa", "people/v1/people"), ("bbb", "peoples/v1/people")):
        (lab.settings.reports / f"{name}.md").write_text(f"{head}```table\n/browse/{dataset}/explore\n```\n")
    with lab.serve() as client:
        pages = [client.get(f"/reports/{name}").text.replace(name, "") for name in ("aaa", "bbb")]
        assert pages[0] == pages[1]


ORDERS = "/browse/shop/v1/orders"
WHO = ("shop:read", "shop:role:few")
EXPLORED = ("", "?id=1000", "?group_by=kind&view=bar", "?measure=sum:price", "/facets/kind")


def test_who_sees_some_records_gets_answers_about_these(make_lab: Callable[..., Lab]) -> None:
    limited = "  - {role: few, access: read, customProperties: [{property: rows, value: \"kind = 'a'\"}]}\n"
    closed = SHOP.replace(", customProperties: [{property: anonymous, value: true}]", "") + limited
    lab = make_lab(closed)
    lab.ingest("shop.orders", shop_file(), "orders.csv")
    lab.settings.reports.mkdir()
    text = "---\ntitle: T\ndescription: D\n---\n"
    text += "```figure\n/browse/shop/v1/orders/explore?measure=count\nlabel: all\n```\n"
    text += "```table\n/browse/shop/v1/orders/explore?group_by=kind\n```\n```checks\n```\n```quarantine\n```\n"
    text += "```chart\n/browse/shop/v1/orders/explore?group_by=kind&view=bar\n```\n"
    text += "```table\n/browse/shop/v1/orders/explore?kind=b\n```\n"
    (lab.settings.reports / "one.md").write_text(text)
    with lab.serve() as client:
        everybody = client.get("/reports/one", headers=key_of(lab, "shop:read"))
        few = client.get("/reports/one", headers=key_of(lab, "shop:role:few"))
        assert (figures(everybody)["all"], figures(few)["all"]) == ("60", "30")
        told = "of the records that you may see"
        for page, is_limited in ((everybody, False), (few, True)):
            sources = re.findall(r'class="source">(.*?)</(?:dd|p)>', page.text)
            assert (len(sources), [told in source for source in sources]) == (
                4 - is_limited,
                [is_limited] * len(sources),
            )
            assert ("No record that you may see meets the conditions" in page.text) is is_limited
            assert (f"{told}; the table below" in page.text) is is_limited
        for path in EXPLORED:
            pages = [client.get(f"{ORDERS}/explore{path}", headers=key_of(lab, who)).text for who in WHO]
            assert [("that you may see" in page) for page in pages] == [False, True], path
        assert "null<wbr>Values(customer)" in everybody.text
        assert "null<wbr>Values(customer)" not in few.text
        assert figures(client.get("/reports/one")) == {}


@pytest.mark.slow
def test_a_faulty_report_says_what_is_wrong_and_the_list_marks_it(product: Product) -> None:
    with product(load_shop).serve() as client:
        page = client.get(BROKEN)
        assert page.status_code == 200
        text = html.unescape(page.text)
        for message in (
            "unknown field 'titel'; did you mean 'title'?",
            "title: is missing",
            "unknown property 'nothing'",
            "view=line does not fit these groups",
            "'/browse/shop/v1/orders' is no address of the explorer",
            "did you mean 'chart'?",
            "the fence that begins here is never closed",
        ):
            assert message in text
        listed = client.get("/reports").text
        assert '<a href="/reports/broken">broken</a> <span class="state late">' in listed
        sales = listed[listed.index("/reports/sales") :]
        assert "state late" not in sales[: sales.index("</li>")]
        home = client.get("/").text
        assert 'href="/reports/sales"' in home
        assert 'href="/reports/broken"' not in home
        assert client.get("/reports/nothing").status_code == 404
        assert client.get("/reports/..%2fsales").status_code == 404


@pytest.mark.slow
def test_overviews_show_what_the_caller_may_know(product: Product) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        page = client.get(SALES).text
        assert "null<wbr>Values(customer)" in page
        assert "Reasons and records are shown to operators" in page
        assert not any(address.startswith("/operations") for address in addresses(client.get(SALES)))
        operator = client.get(SALES, headers=key_of(lab, "ops:read"))
        assert any(address.startswith("/operations/rejects") for address in addresses(operator))
        assert "No rejected record is open" in operator.text


@pytest.mark.slow
def test_open_rejected_records_are_counted_by_reason_and_the_page_changes_with_them(
    make_lab: Callable[..., Lab],
) -> None:
    lab = load_shop(make_lab)
    with lab.serve() as client:
        operator = key_of(lab, "ops:read", "shop:read")
        before = client.get(SALES, headers=operator)
        lab.ingest("shop.orders", shop_file("7,Seven,dear,a,2026-01-08T10:00:00Z,x"), "orders.csv")
        page = client.get(SALES, headers=operator)
        assert "1 record is open in quarantine" in page.text
        assert "<code>price: type</code>" in page.text
        assert page.headers["etag"] != before.headers["etag"]


@pytest.mark.slow
def test_a_report_is_kept_until_its_file_or_its_data_changes(make_lab: Callable[..., Lab]) -> None:
    lab = load_shop(make_lab)
    with lab.serve() as client:
        tag = client.get(SALES).headers["etag"]
        assert client.get(SALES, headers={"If-None-Match": tag}).status_code == 304
        file = lab.settings.reports / "sales.md"
        file.write_text(file.read_text(encoding="utf-8") + "\nOne sentence more.\n", encoding="utf-8")
        changed = client.get(SALES, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        assert "One sentence more." in changed.text
        lab.ingest("shop.orders", shop_file("5,Changed,5.50,b,2026-01-06T10:00:00Z,x"), "orders.csv")
        newer = client.get(SALES, headers={"If-None-Match": changed.headers["etag"], "Decant-Min-Revision": "3"})
        assert newer.status_code == 200


@pytest.mark.slow
def test_the_navigation_leads_to_reports_where_there_are_any(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SHOP)
    lab.migrate()
    with lab.serve() as client:
        before = client.get("/browse")
        assert 'href="/reports"' not in before.text
        assert "There is no report yet" in client.get("/reports").text
        lab.settings.reports.mkdir()
        (lab.settings.reports / "one.md").write_text("---\ntitle: One\ndescription: D\n---\n```state\n```\n")
        after = client.get("/browse", headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert '<a href="/reports">Reports</a>' in after.text


@pytest.mark.slow
def test_a_dataset_without_a_revision_has_a_note(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SHOP)
    lab.migrate()
    lab.settings.reports.mkdir()
    text = "---\ntitle: T\ndescription: D\n---\n```table\n/browse/shop/v1/orders/explore\n```\n"
    (lab.settings.reports / "one.md").write_text(text)
    with lab.serve() as client:
        page = client.get("/reports/one")
        assert page.status_code == 200
        assert "orders has no revision: its first publication fills this part." in page.text


def test_the_folder_of_reports_is_a_setting() -> None:
    field: Any = Settings.model_fields["reports"]
    assert str(field.default) == "reports"


def test_the_search_finds_reports_by_the_words_of_their_title_and_description(product: Product) -> None:
    with product(load_shop).serve() as client:
        found = client.get("/browse?q=sal+SOLD").text
        assert '<a href="/reports/sales">Sales &lt;script&gt;' in found
        assert "0 datasets, 1 report<" in found
        for other in ("/browse", "/browse?q=sales+nothing", "/browse?q=sal&status=active", "/browse?q=broken"):
            assert 'href="/reports/' not in client.get(other).text.partition("<main")[2]
