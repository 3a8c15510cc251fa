"""How callers say who they are, as the document has it: keys, and tokens with the scopes that operations need."""

from __future__ import annotations

from collections.abc import Sequence

from api.auth.api_keys import known_scopes
from api.openapi_parts.parts import Paths
from catalog.model.catalog import Catalog
from runtime.json_types import JsonObject
from runtime.settings.token_issuers import TokenIssuer

SCOPE_DESCRIPTIONS = {
    "ops:read": "watch ingestion",
    "ops:write": "run ingestion",
    "keys:admin": "create and revoke keys",
}


def security_schemes(catalog: Catalog, issuers: Sequence[TokenIssuer]) -> JsonObject:
    """The ways to send a credential; Swagger UI's Authorize button offers them."""
    schemes: JsonObject = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (`dcnt_…`) or an access token."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    }
    meanings = describe_scopes(catalog)
    known = {scope: meanings[scope] for scope in known_scopes(catalog)}
    flows: JsonObject = {}
    for issuer in issuers:
        scopes = known | {scope: known.get(scope, "") for scope in issuer.scopes}
        if issuer.token_url and issuer.authorization_url:
            urls: JsonObject = {"authorizationUrl": issuer.authorization_url, "tokenUrl": issuer.token_url}
            flows.setdefault("authorizationCode", urls | {"scopes": scopes})
        if issuer.token_url:
            flows.setdefault("clientCredentials", {"tokenUrl": issuer.token_url, "scopes": scopes})
    if flows:
        names = ", ".join(issuer.issuer for issuer in issuers)
        schemes["oauth2"] = {"type": "oauth2", "description": f"Access tokens of {names}.", "flows": flows}
    return schemes


def describe_scopes(catalog: Catalog) -> dict[str, str]:
    """What each scope allows, in plain words: Swagger UI shows no markup there."""
    meanings = dict(SCOPE_DESCRIPTIONS)
    for product in catalog.products.values():
        for role in product.roles:
            some = "some records of " if role.rows else ""
            meanings[role.scope] = f"{role.access} {some}{product.name}"
        for kind in ("confidential", "restricted"):
            meanings.setdefault(f"{product.id}:read:{kind}", f"{kind} properties of {product.name} too")
    return meanings


def settle_security(paths: Paths, *, tokens: bool) -> None:
    """Says of every operation that takes a key which scopes it needs, and offers tokens with them.

    In the document only OAuth 2 has scopes; those of keys are in `x-scopes` and in the description.
    """
    for operations in paths.values():
        for operation in operations.values():
            asked = operation.get("security", [])
            scopes = next((wish["bearer"] for wish in asked if "bearer" in wish), None)
            if scopes is None:
                continue
            operation["security"] = [{name: [] for name in wish} for wish in asked]
            if tokens:
                operation["security"].append({"oauth2": scopes})
            if scopes and {} not in asked:
                operation["x-scopes"] = scopes
                undescribed = [f"`{scope}`" for scope in scopes if f"`{scope}`" not in operation["description"]]
                if undescribed:
                    operation["description"] += f" Needs {' and '.join(undescribed)}."
