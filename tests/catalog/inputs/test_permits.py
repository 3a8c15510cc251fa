"""What contracts may use of the machine: what an operator lists, and nothing of Decant's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.contract.load import lint_contracts
from catalog.inputs.permits import Permits
from catalog.inputs.source_urls import SourceUrlError, check_source_url, make_source_url
from catalog.model.sources import DatabaseSource
from runtime.errors import SettingsError
from runtime.settings.settings import Settings, load_settings

PRODUCTION = {"env": "production", "secret": "x" * 32, "database_url": "postgresql://own:pw@db.example:5433/decant"}
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
servers:
  - {server}
schema:
  - name: items
    customProperties: [{{property: input, value: {{server: s, mode: snapshot, {words}}}}}]
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
"""
FILES = "{{server: s, type: local, path: '{0}', format: csv}}"
API = "{{server: s, type: api, location: 'https://api.example/{0}'}}"
BUCKET = "{{server: s, type: s3, location: 's3://bucket/{0}', format: csv}}"
DATABASE = (
    "{{server: s, type: postgresql, host: db, port: 5432, database: shop, schema: public,"
    " customProperties: [{{property: user, value: '{0}'}}]}}"
)
URL = "{{server: s, type: custom, customProperties: [{{property: url, value: '{0}'}}]}}"

Errors = Callable[..., list[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a secret, data and a working folder beside it, and the variables of an operator."""
    for folder in ("home/data", "home/landing", "work/files", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("home/secret", "home/data/a.csv", "work/files/a.csv", "elsewhere/a.csv"):
        (tmp_path / file).write_text("id\n1\n")
    (tmp_path / "work" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "work" / "secrets").symlink_to(tmp_path / "home")
    monkeypatch.chdir(tmp_path / "work")
    for name in ("SHOP_TOKEN", "OTHER_TOKEN", "decant_secret"):
        monkeypatch.setenv(name, "word")
    return tmp_path


@pytest.fixture
def errors(home: Path) -> Errors:
    """The errors of a contract with this server and input."""

    def find(server: str, words: str = "path: a.csv", **settings: Any) -> list[str]:
        (home / "contracts").mkdir(exist_ok=True)
        (home / "contracts" / "shop.yaml").write_text(CONTRACT.format(server=server, words=words))
        chosen = load_settings(**{"contracts": home / "contracts", "home": home / "home"} | settings)
        return [found.message for found in lint_contracts(chosen)[1] if found.severity == "error"]

    return find


PLACES = {
    "file": (FILES.format("${{DECANT_DATA}}/${0}"), "path: a.csv"),
    "file's path": (FILES.format("${{DECANT_DATA}}"), "path: 'a${0}.csv'"),
    "api": (API.format("${0}"), "format: csv"),
    "header": (API.format(""), "format: csv, headers: {{Authorization: 'Bearer ${0}'}}"),
    "parameter": (API.format(""), "format: csv, params: {{key: ['${0}']}}"),
    "body": (API.format(""), "format: csv, method: POST, body: {{a: {{b: '${0}'}}}}"),
    "path of an api": (API.format(""), "format: csv, path: 'v1/${0}'"),
    "bucket": (BUCKET.format("${0}"), "path: a.csv"),
    "login": (DATABASE.format("${0}"), "table: items"),
    "url": (URL.format("mysql+pymysql://db/${0}"), "table: items"),
}


def fill(place: str, name: str) -> tuple[str, str]:
    """A server and an input that name a variable."""
    server, words = (
        text.replace("${0}", f"${{{name}}}").replace("{{", "{").replace("}}", "}") for text in PLACES[place]
    )
    return server, words


@pytest.mark.parametrize("place", PLACES)
def test_a_variable_is_filled_in_only_where_an_operator_lists_it(errors: Errors, place: str) -> None:
    server, words = fill(place, "SHOP_TOKEN")
    production = PRODUCTION | {"input_buckets": "*=s3://bucket"}
    assert errors(server, words) == []
    (refused,) = errors(server, words, **PRODUCTION)  # alone: half an address is judged by nobody
    assert "SHOP_TOKEN is not permitted for this product" in refused
    assert "DECANT_INPUT_VARIABLES, such as shop=SHOP_TOKEN" in refused
    assert errors(server, words, **production, input_variables="shop=OTHER_TOKEN,SHOP_TOKEN") == []
    assert errors(server, words, **production, input_variables="*=SHOP_TOKEN") == []
    assert len(errors(server, words, **production, input_variables="other=SHOP_TOKEN; shop=OTHER_TOKEN")) == 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "name", ["DECANT_WRITE_DATABASE_URL", "DECANT_SECRET", "decant_secret", "DECANT_PEPPER_FILE"]
)
def test_a_setting_of_decant_is_never_filled_in(
    errors: Errors, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    monkeypatch.setenv("DECANT_PEPPER_FILE", "word")  # no setting that is known now
    (refused,) = errors(*fill(place, name))
    assert f"${{{name}}} is a setting of Decant" in refused


def test_every_closed_variable_is_named_at_once(errors: Errors) -> None:
    words = "format: csv, headers: {A-Token: '${SHOP_TOKEN}', B-Token: '${OTHER_TOKEN}'}"
    assert len(errors(API.format(""), words, **PRODUCTION)) == 2


@pytest.mark.parametrize(
    "lists", ["shop", "=A", "shop=DECANT_SECRET", "*=decant_data", "shop=A B", "sh op=A", "shop=${A}"]
)
def test_a_list_of_variables_that_means_nothing_is_refused(home: Path, lists: str) -> None:
    with pytest.raises(SettingsError, match="DECANT_INPUT_VARIABLES"):
        load_settings(input_variables=lists)


def test_lists_are_read_by_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_INPUT_VARIABLES", " shop = A, B ; *=C;shop=D;")
    monkeypatch.setenv("DECANT_INPUT_ROOTS", "shop=/srv/shop,/mnt/a b")
    settings = load_settings()
    assert settings.input_variables == {"shop": ("A", "B", "D"), "*": ("C",)}
    assert settings.input_roots == {"shop": ("/srv/shop", "/mnt/a b")}
    with pytest.raises(SettingsError, match="must be an absolute path"):
        load_settings(input_roots="shop=srv")


# Roots: as the contract writes them, and whether development and production take them.
ROOTS = {
    "${DECANT_DATA}": (True, True),
    "{home}/home/data": (True, True),
    "files": (True, False),
    ".": (True, False),
    "{home}/elsewhere": (False, False),
    "out": (False, False),
    "..": (False, False),
    "../elsewhere": (False, False),
    "${DECANT_DATA}/..": (False, False),
    "${DECANT_DATA}/../landing": (False, False),
    "{home}/home": (False, False),
    "secrets": (False, False),
    "secrets/landing": (False, False),
    "/etc": (False, False),
    "/": (False, False),
    "/proc/self": (False, False),
    "${SHOP_ROOT}": (False, False),
}


@pytest.mark.parametrize(("root", "taken"), ROOTS.items())
def test_a_folder_is_read_only_where_an_operator_lists_it(
    errors: Errors, home: Path, monkeypatch: pytest.MonkeyPatch, root: str, taken: tuple[bool, bool]
) -> None:
    monkeypatch.setenv("SHOP_ROOT", "/etc")
    server = FILES.replace("{0}", root.replace("{home}", str(home))).replace("{{", "{").replace("}}", "}")
    assert (not errors(server), not errors(server, **PRODUCTION)) == taken
    # No list opens the home.
    listed = {"input_roots": f"shop=/,{home}/elsewhere;other=/", "input_variables": "*=SHOP_ROOT"}
    closed = Permits(load_settings(home=home / "home", **listed), "shop").refuse_path(
        root.replace("${DECANT_DATA}", f"{home}/home/data")
        .replace("{home}", str(home))
        .replace("${SHOP_ROOT}", "/etc")
    )
    inside = "data/.." in root.replace("${DECANT_DATA}", "data") or root in {
        "{home}/home",
        "secrets",
        "secrets/landing",
    }
    assert (closed is not None) == inside
    assert bool(errors(server, **PRODUCTION, **listed)) == inside


@pytest.mark.parametrize(
    "path", ["../elsewhere/a.csv", "../../home/secret", "out/a.csv", "../out/*.csv", "files/../../x"]
)
def test_a_path_that_leads_out_of_its_folder_is_refused_beforehand(errors: Errors, path: str) -> None:
    assert len(errors(FILES.format("."), f"path: '{path}'")) == 1


def test_the_data_folder_opens_nothing_of_the_home_around_it_or_in_it(home: Path) -> None:
    for data in (home, home / "home"):
        permits = Permits(load_settings(home=home / "home", data=data), "shop")
        assert permits.refuse_path(home / "home" / "secret")
        assert permits.refuse_path(home / "home" / "landing")
    assert Permits(load_settings(home=home / "home", data=home), "shop").refuse_path(home / "elsewhere") is None


def test_a_command_that_runs_in_the_root_opens_nothing_by_that(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    permits = Permits(load_settings(home=home / "home"), "shop")
    assert permits.refuse_path("/etc/passwd")
    assert permits.refuse_path(home / "home" / "data" / "a.csv") is None


# Buckets

LISTS = "shop=s3://lake/in,s3://open,https://Minio.example:443/shared/a ; *=s3://all/of/it/a.csv; other=s3://others"
# A location, an input's path, an endpoint; whether production takes them.
OBJECTS = [
    ("s3://lake/in", "a.csv", None, True),
    ("s3://lake/in/", "deep/*.csv", None, True),
    ("s3://lake", "in/*.csv", None, True),
    ("s3://lake/in/deep", "**", None, True),
    ("s3://lake/in/*.csv", None, None, True),
    ("s3://open", "**", None, True),
    ("s3://open/a b/100%25", "ä*.csv", None, True),
    ("s3://all/of", "it/a.csv", None, True),
    ("s3://shared/a", "b.csv", "https://minio.example", True),
    ("s3://shared/a", "b.csv", "https://MINIO.example/", True),
    ("s3://a", "b.csv", "https://minio.example/shared", True),
    ("s3://lake", "*.csv", None, False),
    ("s3://lake", "**/in/*.csv", None, False),
    ("s3://lake", "i*/a.csv", None, False),
    ("s3://lake", "in-old/a.csv", None, False),
    ("s3://lake/IN", "a.csv", None, False),
    ("s3://lakes/in", "a.csv", None, False),
    ("s3://others", "a.csv", None, False),
    ("s3://all/of", "it/*.csv", None, False),
    ("s3://lake/in", "a.csv", "https://minio.example", False),
    ("s3://shared/a", "b.csv", None, False),
    ("s3://shared/a", "b.csv", "http://minio.example", False),
    ("s3://shared/a", "b.csv", "https://minio.example:444", False),
    ("s3://shared/a", "b.csv", "https://minio.example.evil", False),
    ("s3://shared/b", "b.csv", "https://minio.example", False),
]


def store(location: str, endpoint: str | None) -> str:
    """A server of a bucket."""
    more = f", endpointUrl: '{endpoint}'" if endpoint else ""
    return f"{{server: s, type: s3, location: '{location}', format: csv{more}}}"


@pytest.mark.parametrize(("location", "path", "endpoint", "taken"), OBJECTS)
def test_a_bucket_is_read_only_where_an_operator_lists_it(
    errors: Errors, location: str, path: str | None, endpoint: str | None, taken: bool
) -> None:
    server, words = store(location, endpoint), f"path: '{path}'" if path else "format: csv"
    assert errors(server, words) == []
    refused = errors(server, words, **PRODUCTION, input_buckets=LISTS)
    assert refused == [] if taken else "DECANT_INPUT_BUCKETS, such as shop=" in refused[0]
    assert len(errors(server, words, **PRODUCTION)) == 1
    # What the message says to list opens it.
    listed = errors(server, words, **PRODUCTION)[0].rpartition("such as ")[2]
    assert errors(server, words, **PRODUCTION, input_buckets=listed) == []


@pytest.mark.parametrize(
    ("location", "path", "endpoint"),
    [
        ("s3://lake/in/../out", "a.csv", None),
        ("s3://lake/in", "../out/a.csv", None),
        ("s3://lake/in", "x/%2e%2e/../a.csv", None),
        ("s3://lake/in/%2E%2e/out", "a.csv", None),
        ("s3://lake/in", ".%2e/out/*.csv", None),
        ("s3://lake/in", "%252e%252e/out/a.csv", None),
        ("s3://lake/in", "..%2Fout/a.csv", None),
        ("s3://lake/in", "..\\out/a.csv", None),
        ("s3://lake/in", "*/../../out/a.csv", None),
        ("s3://lake/*", "a.csv", None),
        ("s3://la*ke/in", "a.csv", None),
        ("s3://lak[e]/in", "a.csv", None),
        ("s3://../in", "a.csv", None),
        ("s3://lake%2f..%2fout/in", "a.csv", None),
        ("s3://la ke/in", "a.csv", None),
        ("s3://lake#/in", "a.csv", None),
        ("s3://lake/in", "a.csv", "https://minio.example/x/../y"),
        ("s3://lake/in", "a.csv", "https://minio.example/%2e%2e"),
        ("s3://lake/in", "a.csv", "https://minio.example?x=1"),
        ("s3://lake/in", "a.csv", "https://me:word@minio.example"),
        ("s3://lake/in", "a.csv", "https://minio.example\\@evil.example"),
        ("s3://lake/in", "a.csv", "ftp://minio.example"),
    ],
)
def test_a_place_that_could_be_another_is_refused_everywhere(
    errors: Errors, location: str, path: str, endpoint: str | None
) -> None:
    server, words = store(location, endpoint), f"path: '{path}'"
    for settings in ({}, PRODUCTION | {"input_buckets": "*=s3://lake,https://minio.example/lake"}):
        (refused,) = errors(server, words, **settings)
        assert "input" in refused
        assert "evil" not in refused or endpoint


@pytest.mark.parametrize(
    ("location", "path", "taken"),
    [
        ("s3://lake/decant/landing", "*/*", False),
        ("s3://lake/decant", "a.csv", False),
        ("s3://lake", "*/a.csv", False),
        ("s3://lake", "decant/known/a.parquet", False),
        ("s3://lake/shop", "a.csv", True),
        ("s3://lake/decanter", "a.csv", True),
        ("s3://other/decant", "a.csv", True),
    ],
)
def test_no_contract_reads_the_raw_batches_of_others(errors: Errors, location: str, path: str, taken: bool) -> None:
    listed = {"store_url": "s3://lake/decant", "input_buckets": "*=s3://lake,s3://other"}
    for settings in (listed, listed | PRODUCTION):
        found = errors(store(location, None), f"path: '{path}'", **settings)
        assert found == [] if taken else "where the raw batches of all products are" in found[0]


def test_a_variable_in_a_bucket_is_checked_by_its_value_and_not_told(
    errors: Errors, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = store("s3://${SHOP_BUCKET}/in", None)
    settings = PRODUCTION | {"input_variables": "shop=SHOP_BUCKET", "input_buckets": "shop=s3://lake"}
    assert errors(server, **settings) == []  # not set here: judged when it is read
    monkeypatch.setenv("SHOP_BUCKET", "lake")
    assert errors(server, **settings) == []
    for value in ("payroll", "lake/../payroll"):
        monkeypatch.setenv("SHOP_BUCKET", value)
        (refused,) = errors(server, **settings)
        assert "s3://${SHOP_BUCKET}/in" in refused
        assert "payroll" not in refused


@pytest.mark.parametrize(
    "lists",
    ["shop", "shop=lake", "shop=s3://", "shop=s3://la*ke", "shop=s3://lake/*", "shop=s3://lake/../x", "*=https://host",
     "shop=s3://lake/%2e%2e", "shop=https://a:b@host/lake", "shop=https://host/lake?x", "shop=/srv/lake"],
)  # fmt: skip
def test_a_list_of_buckets_that_means_nothing_is_refused(home: Path, lists: str) -> None:
    with pytest.raises(SettingsError, match="DECANT_INPUT_BUCKETS"):
        load_settings(input_buckets=lists)


# Databases


def check(settings: Settings, url: str | None = None, **parts: str) -> str | None:
    """Why a database may not be read."""
    source = DatabaseSource("erp", parts.pop("driver", ""), url=url, **parts)
    try:
        check_source_url(make_source_url(source, lambda text: text), source, Permits(settings, "shop"))
    except SourceUrlError as error:
        return str(error)
    return None


OWN = [
    "postgresql://x@db.example:5433/decant",
    "postgresql+psycopg://x:y@DB.example.:5433/decant?sslmode=require",
    "postgresql+asyncpg://db.example:5433/decant",
    "postgres://x@/decant?host=db.example&port=5433",
    "postgresql+psycopg://x@/decant?host=other:1&host=db.example:5433",
    "postgresql://x@ignored/ignored?host=db.example&port=5433&dbname=decant",
    "postgresql://x@127.0.0.1:5434/copy",
    "postgresql://x@localhost:5434/copy",
    "postgresql://x@/copy?hostaddr=127.0.0.1&port=5434",
    "postgresql://writer@replica.example/writer",
]


@pytest.mark.parametrize("url", OWN)
def test_decants_own_database_is_known_by_its_address_however_it_is_spelt(url: str) -> None:
    settings = load_settings(
        **PRODUCTION
        | {
            "read_database_url": "postgresql://r@localhost:5434/copy",
            "write_database_url": "postgres://writer@replica.example",
        }
    )
    assert "Decant's own database" in (check(settings, url) or "")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://x@db.example:5433/shop",
        "postgresql://x@db.example/decant",
        "postgresql://x@db.example.org:5433/decant",
        "mysql+pymysql://x@db.example:5433/decant",
        "postgresql://x@/decant?hostaddr=10.0.0.1&port=5433",
    ],
)
def test_another_database_is_not_decants_own(url: str) -> None:
    settings = load_settings(**PRODUCTION)
    assert check(settings, url) is None


def test_parts_of_an_address_are_compared_as_a_url_is() -> None:
    settings = load_settings(**PRODUCTION)
    parts = {"driver": "postgresql+psycopg", "host": "db.example", "port": "5433"}
    assert check(settings, database="decant", **parts)
    assert check(settings, database="shop", **parts) is None


@pytest.mark.parametrize(
    "parameter",
    [
        "local_infile=1",
        "LOCAL_INFILE=1",
        "local%5Finfile=1",
        "read_default_file=/etc/my.cnf",
        "plugin=x",
        "service=own",
        "servicefile=/x",
        "passfile=/x",
        "odbc_connect=x",
        "driver=/tmp/x.so",
    ],
)
def test_a_parameter_that_opens_more_of_the_machine_is_not_taken_from_a_contract(parameter: str) -> None:
    settings = load_settings()
    url = f"mysql+pymysql://db/shop?{parameter}"
    assert "is not allowed in a contract" in (check(settings, url) or "")
    # An operator's variable holds what it wants.
    source = DatabaseSource("erp", url="${ERP_URL}")
    check_source_url(make_source_url(source, lambda _: url), source, Permits(settings, "shop"))


@pytest.mark.parametrize("scheme", ["sqlite:///", "sqlite+pysqlite:///", "duckdb:///"])
def test_a_database_that_is_a_file_lies_where_files_may_lie(home: Path, scheme: str) -> None:
    settings = load_settings(home=home / "home")
    assert check(settings, f"{scheme}files/a.db") is None
    assert check(settings, f"{scheme}{home}/home/data/a.db") is None
    for path in ("/etc/passwd", f"{home}/home/secret", "out/a.db", "../elsewhere/a.db", "secrets/secret"):
        assert check(settings, scheme + path), path
    assert "must be a file" in (check(settings, scheme.removesuffix("/")) or "")
    assert check(load_settings(home=home / "home", **PRODUCTION), f"{scheme}files/a.db")
