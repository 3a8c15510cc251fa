"""Reports against contracts, without a database: what the API would refuse is found before anybody asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.portal.reports.check import check_report
from api.portal.reports.folder import ReportFolder
from api.portal.reports.parsing import parse_report
from catalog.contract.load import load_catalog
from catalog.model.catalog import Catalog
from runtime.settings.settings import load_settings
from runtime.shipped import SHIPPED_CONTRACTS, SHIPPED_REPORTS
from tests.support.portal import SHOP

ORDERS = "/browse/shop/v1/orders/explore"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "shop.odcs.yaml").write_text(SHOP, encoding="utf-8")
    return load_catalog(load_settings(contracts=folder, data=folder))


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("table", "/browse/shoop/v1/orders/explore", "no contract has the product shoop/v1; did you mean 'shop/v1'?"),
        ("table", "/browse/shop/v2/orders/explore", "no contract has the product shop/v2; did you mean 'shop/v1'?"),
        ("table", "/browse/shop/v1/oders/explore", "has no dataset 'oders'; did you mean 'orders'?"),
        ("table", f"{ORDERS}?knd=a", "knd: unknown parameter; did you mean 'kind'"),
        ("table", f"{ORDERS}?price[gte]=x", "price[gte]: "),
        ("table", f"{ORDERS}?kind=a&kind=b", "kind: is repeated"),
        ("table", f"{ORDERS}?properties=id,pris", "unknown property 'pris'; did you mean 'price'"),
        ("table", f"{ORDERS}?limit=5000", "limit: must be an integer from 1 to 1000"),
        ("table", f"{ORDERS}?cursor=abc", "cursor: a block shows the first page"),
        ("table", f"{ORDERS}?expand=customer", "unknown parameter"),
        ("chart", f"{ORDERS}?kind=a", "a chart needs group_by"),
        ("chart", f"{ORDERS}?group_by=kind&view=pie", "'pie' is no view of the explorer"),
        ("chart", f"{ORDERS}?group_by=kind&view=table", "view=table draws nothing"),
        ("chart", f"{ORDERS}?group_by=kind&view=line", "view=line does not fit these groups; bar do"),
        ("chart", f"{ORDERS}?group_by=kind&view=heat", "view=heat does not fit"),
        ("chart", f"{ORDERS}?group_by=kin", "unknown property 'kin'"),
        ("chart", f"{ORDERS}?group_by=day(kind)", "kind is not a date or time"),
        ("chart", f"{ORDERS}?group_by=kind&measure=sum:customer", "sum is not available for customer"),
        ("chart", f"{ORDERS}?group_by=kind&sort=price", "'price' is neither a group nor a measure"),
        ("figure", f"{ORDERS}?measure=count,sum:price\nlabel: x", "a figure has one measure"),
        ("figure", f"{ORDERS}?group_by=kind&measure=count\nlabel: x", "a figure has one measure"),
        ("figure", f"{ORDERS}?kind=a\nlabel: x", "a figure has one measure"),
        ("figure", f"{ORDERS}?measure=count", "label: is missing"),
        ("state", "/browse/nothing/v1", "no contract has the product nothing/v1"),
        ("checks", "/browse/shop/v1/nothing", "has no dataset 'nothing'"),
    ],
)
def test_what_a_block_asks_in_vain_is_found(shop: Catalog, kind: str, content: str, message: str) -> None:
    text = f"---\ntitle: T\ndescription: D\n---\n\n```{kind}\n{content}\n```\n"
    faults = check_report(parse_report("x", text.encode()), shop)
    assert any(message in fault.message for fault in faults), faults
    assert {(fault.line, fault.path) for fault in faults} == {(7, f"block 1 ({kind})")}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("chart", f"{ORDERS}?group_by=month(ordered_at),kind&measure=avg:price&view=line&timezone=Europe/Oslo"),
        ("chart", f"{ORDERS}?group_by=bin(price,10)&view=histogram&at=3"),
        ("chart", f"{ORDERS}?group_by=kind,month(ordered_at)&measure=count&sort=-count&limit=50"),
        ("table", f"{ORDERS}?kind[in]=a,b&q=word&sort=-price&properties=id,price"),
        ("figure", f"{ORDERS}?kind=a&measure=p95:price\nlabel: most"),
        ("state", ""),
        ("checks", "/browse/shop/v1\n/browse/shop/v1/orders"),
        ("quarantine", "/browse"),
    ],
)
def test_what_the_api_answers_is_no_finding(shop: Catalog, kind: str, content: str) -> None:
    text = f"---\ntitle: T\ndescription: D\n---\n```{kind}\n{content}\n```\n"
    assert check_report(parse_report("x", text.encode()), shop) == []


def test_the_shipped_reports_fit_the_shipped_contracts_and_have_every_kind_of_chart() -> None:
    catalog = load_catalog(load_settings(contracts=SHIPPED_CONTRACTS))
    reports = ReportFolder(SHIPPED_REPORTS).list()
    assert [report.slug for report in reports] == ["delays-in-new-york", "state-of-the-data"]
    assert [fault for report in reports for fault in check_report(report, catalog)] == []
    views = {block.question.value("view") for block in reports[0].blocks if block.kind == "chart"}
    assert views == {"bar", "line", "histogram", "heat", "multiples"}
    assert [block.kind for block in reports[1].blocks] == ["state", "checks", "quarantine"]


def test_files_that_cannot_be_used_are_reports_with_a_fault(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    good = "---\ntitle: Good\ndescription: D\n---\nText.\n"
    (tmp_path / "secret.md").write_text(good)
    (folder / "good.md").write_text(good)
    (folder / "linked.md").symlink_to("good.md")
    (folder / "leads-out.md").symlink_to("../secret.md")
    (folder / "circle.md").symlink_to("circle.md")
    (folder / "gone.md").symlink_to("nothing.md")
    (folder / "a-folder.md").mkdir()
    (folder / "No Slug.md").write_text(good)
    (folder / "large.md").write_text(good + "x" * 200_000)
    (folder / "latin.md").write_bytes(b"caf\xe9")
    (folder / ".hidden.md").write_text(good)
    (folder / "other.txt").write_text(good)
    reports = {report.slug: report for report in ReportFolder(folder).list()}
    said = {slug: " ".join(fault.message for fault in report.faults) for slug, report in reports.items()}
    assert {slug for slug, words in said.items() if not words} == {"good", "linked"}
    assert "leads out" in said["leads-out"]
    assert "cannot be read" in said["circle"]
    assert "is no file" in said["a-folder"]
    assert "no slug" in said["No Slug"]
    assert "larger than 200,000 bytes" in said["large"]
    assert "not UTF-8" in said["latin"]
    assert set(reports) == {"good", "linked", "leads-out", "circle", "a-folder", "No Slug", "large", "latin"}
    assert reports["No Slug"].path is None
    assert ReportFolder(folder).find("No Slug") is None
    assert ReportFolder(folder).find("../secret") is None
    assert ReportFolder(tmp_path / "nowhere").list() == []


def test_a_report_that_changed_is_read_again(tmp_path: Path) -> None:
    folder, file = ReportFolder(tmp_path), tmp_path / "one.md"
    file.write_text("---\ntitle: First\ndescription: D\n---\n")
    first = folder.find("one")
    assert first is not None
    assert folder.find("one") is first
    file.write_text("---\ntitle: Second, longer\ndescription: D\n---\n")
    second = folder.find("one")
    assert second is not None
    assert (first.title, second.title) == ("First", "Second, longer")
    file.unlink()
    assert folder.find("one") is None
    assert folder.is_empty()
