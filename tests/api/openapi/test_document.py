"""The OpenAPI document: valid, taken by a client generator, true to what the service answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.openapi import build_document, is_current
from catalog.contract.load import load_catalog
from runtime.settings.settings import PROJECT_ROOT, load_settings
from runtime.settings.token_issuers import TokenIssuer
from tests.support.lab import PEOPLE, Lab


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build_document(load_catalog(load_settings(contracts=PROJECT_ROOT / "contracts")))


def parameters_of(document: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The parameters of a GET, with those that it refers to."""
    named = document["components"]["parameters"]
    operation = document["paths"][path]["get"]
    found = (each.get("$ref", "").removeprefix("#/components/parameters/") for each in operation["parameters"])
    return [named[name] if name else each for name, each in zip(found, operation["parameters"], strict=True)]


def test_the_committed_document_is_what_the_contracts_say() -> None:
    catalog = load_catalog(load_settings(contracts=PROJECT_ROOT / "contracts"))
    assert is_current(catalog, PROJECT_ROOT / "openapi" / "openapi.json")


# The validator takes thirteen seconds for all contracts; one of them has each kind of operation.
@pytest.mark.parametrize("names", ["earthquakes*", pytest.param("*", marks=pytest.mark.slow)])
def test_the_document_is_valid_openapi(tmp_path: Path, names: str) -> None:
    for file in (PROJECT_ROOT / "contracts").glob(names):
        (tmp_path / file.name).symlink_to(file)
    document = build_document(load_catalog(load_settings(contracts=tmp_path)))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_tokens_and_keys_are_both_offered_with_the_scopes_that_an_operation_needs(document: dict[str, Any]) -> None:
    catalog = load_catalog(load_settings(contracts=PROJECT_ROOT / "contracts"))
    urls = {"authorization_url": "https://login.example/authorize", "token_url": "https://login.example/token"}
    issuer = TokenIssuer(issuer="https://login.example", audience="https://data.example", scopes=["hr:read"], **urls)
    offered = build_document(catalog, issuers=[issuer])
    flows = offered["components"]["securitySchemes"]["oauth2"]["flows"]
    assert set(flows) == {"authorizationCode", "clientCredentials"}
    # Of what nobody has asked for yet, the document says no more than its name.
    assert flows["authorizationCode"]["scopes"]["hr:read"] == ""
    assert "oauth2" not in document["components"]["securitySchemes"]
    for path, operations in offered["paths"].items():
        for method, operation in operations.items():
            plain = document["paths"][path][method]["security"]
            tokens = [wish for wish in operation["security"] if "oauth2" in wish]
            # Whatever takes a key takes a token, and no other.
            assert len(tokens) == ({"bearer": []} in plain)
            for wish in tokens:
                assert set(wish["oauth2"]) <= set(flows["clientCredentials"]["scopes"]), path
    assert {"oauth2": ["ops:read"]} in offered["paths"]["/operations/loads"]["get"]["security"]
    assert offered["paths"]["/operations/loads"]["get"]["x-scopes"] == ["ops:read"]


def test_every_operation_and_parameter_is_described_with_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            assert operation["summary"], path
            assert operation["description"], path
            for parameter in operation.get("parameters", []):
                assert "$ref" in parameter or parameter["description"], (path, parameter)
    for name, parameter in document["components"]["parameters"].items():
        assert parameter["description"], name
    assert len(names) == len(set(names))


def test_every_property_of_the_demo_has_a_description_and_an_example_of_its_type(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        shared = {"Problem", "PropertyProfile", "PastProfile", "Measured", "Origin", "Lineage", "Provenance"}
        if name in shared or name.endswith("Page"):
            continue
        for prop, described in schema["properties"].items():
            assert described["description"], (name, prop)
            for example in described["examples"]:
                jsonschema.validate(example, described)


def test_every_filter_s_example_is_taken_by_the_service(document: dict[str, Any]) -> None:
    from api.query.parameters import Validator
    from catalog.model.dataset import links_of

    catalog = load_catalog(load_settings(contracts=PROJECT_ROOT / "contracts"))
    for dataset in catalog.datasets():
        validator = Validator(dataset, expandable=tuple(links_of(dataset)))
        parameters = parameters_of(document, f"{dataset.path}/records")
        assert {p["name"] for p in parameters} == set(validator.readers)
        for parameter in parameters:
            for example in parameter["schema"].get("examples", []):
                values = example if isinstance(example, list) else [example]
                query = str(httpx.QueryParams({parameter["name"]: [str(value) for value in values]})).encode()
                validator.parse(query)


BARE = """
apiVersion: v3.1.0
kind: DataContract
id: bare
name: Bare
version: 1.0.0
status: active
schema:
  - name: unordered
    customProperties: [{property: input, value: {events: true}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true, required: true}
      - {name: facts, logicalType: object}
      - {name: tags, logicalType: array, physicalType: "text[]", items: {logicalType: string}}
      - {name: late, logicalType: date}
  - name: pairs
    customProperties: [{property: input, value: {events: true}}]
    properties:
      - {name: left, logicalType: string, primaryKey: true, primaryKeyPosition: 1, required: true}
      - {name: right, logicalType: string, primaryKey: true, primaryKeyPosition: 2, required: true}
  - name: words
    customProperties: [{property: input, value: {events: true}}]
    properties:
      - {name: word, logicalType: string, primaryKey: true, required: true}
roles:
  - {role: "bare:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""


def test_a_sort_s_example_is_taken_whatever_a_dataset_is_made_of(make_lab: Callable[..., Lab]) -> None:
    from api.query.parameters import Validator

    catalog = make_lab(BARE).catalog
    document = build_document(catalog)
    expected = {"unordered": ["-late", "id"], "pairs": ["-left", "right"], "words": ["-word"]}
    for dataset in catalog.datasets():
        for form in ("records", "export"):
            parameters = parameters_of(document, f"{dataset.path}/{form}")
            (example,) = next(p for p in parameters if p["name"] == "sort")["schema"]["examples"]
            assert example == expected[dataset.name]
            Validator(dataset).parse(str(httpx.QueryParams({"sort": ",".join(example)})).encode())


@pytest.mark.slow
def test_a_client_generator_takes_the_document_and_its_client_reads_a_page(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    lab = make_lab(PEOPLE)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,NA,\n")
    source = tmp_path / "openapi.json"
    source.write_text(json.dumps(build_document(lab.catalog)))
    generator = Path(sys.executable).with_name("openapi-python-client")
    config = tmp_path / "config.yaml"
    config.write_text("post_hooks: []\n")
    made = subprocess.run(
        [
            generator,
            "generate",
            "--path",
            source,
            "--config",
            config,
            "--output-path",
            tmp_path / "client",
            "--meta",
            "none",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "warning" not in (made.stdout + made.stderr).lower(), made.stdout + made.stderr
    program = """
import sys
from client import Client
from client.api.people_v1_people import list_people_v1_people
page = list_people_v1_people.sync(client=Client(base_url=sys.argv[1]), limit=10, agegte=30)
print(page.data[0].name, page.data[0].age, page.revision, page.next_)
"""
    with lab.serve() as client:
        read = subprocess.run(
            [sys.executable, "-c", program, str(client.base_url)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
    assert read.stdout.strip() == "Ann 30 1 None", read.stderr


def test_what_the_service_answers_fits_the_document(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,NA,\n")
    document = build_document(lab.catalog)

    def check(answer: httpx.Response, path: str) -> None:
        found = document["paths"][path]["get"]["responses"][str(answer.status_code)]
        name = found.get("$ref", "").removeprefix("#/components/responses/")
        described = (document["components"]["responses"][name] if name else found)["content"]
        schema = described[answer.headers["content-type"]]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})

    with lab.serve() as client:
        records = "/data/people/v1/people/records"
        check(client.get(records), records)
        check(client.get(f"{records}?limit=1"), records)
        check(client.get(f"{records}?limit=x"), records)
        check(client.get(f"{records}/1"), f"{records}/{{key}}")
        check(client.get(f"{records}/7"), f"{records}/{{key}}")
        check(client.get("/data"), "/data")
        check(client.get("/readyz"), "/readyz")


def test_swagger_ui_is_served_from_here_and_asks_no_other_host(make_lab: Callable[..., Lab]) -> None:
    with make_lab(PEOPLE).serve() as client:
        page = client.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http://" not in page.text
        assert "https://" not in page.text
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "docs.js", "docs.css", "favicon-32x32.png"):
            assert f"/static/{name}" in page.text
            assert client.get(f"/static/{name}").status_code == 200
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/static/%2e%2e%2fapp.py").status_code == 404
        assert client.get("/docs/problems/invalid_cursor").status_code == 200
        assert client.get("/docs/problems/nothing").status_code == 404
        assert client.get("/openapi.json").json()["openapi"] == "3.1.0"


def test_swagger_ui_may_fetch_tokens_where_the_issuer_gives_them_and_nowhere_else(
    make_lab: Callable[..., Lab],
) -> None:
    given = {"issuer": "https://one.example", "token_url": "https://one.example:8443/oauth/token"}
    silent = {"issuer": "https://two.example"}
    issuers = [told | {"audience": "https://data.example"} for told in (given, silent)]
    with make_lab(PEOPLE, token_issuers=issuers).serve() as client:
        policy = client.get("/docs").headers["content-security-policy"]
        assert "connect-src 'self' https://one.example:8443;" in policy
        assert "two.example" not in policy
        back = client.get("/static/oauth2-redirect.html")
        assert "connect-src 'self';" in back.headers["content-security-policy"]
        assert 'src="oauth2-redirect.js"' in back.text
        assert client.get("/static/oauth2-redirect.js").headers["content-type"].startswith("text/javascript")
