"""Issuers of access tokens, as configured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from runtime.settings.values import check_address, check_issuer

# Algorithms with public keys. HMAC is left out: its verifiers could sign tokens.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]

Address = Annotated[str, AfterValidator(check_address)]
SCOPE = r"^[\x21\x23-\x5B\x5D-\x7E]+$"  # RFC 6749, appendix A.4


class TokenIssuer(BaseModel):
    """An issuer of access tokens, its audience, and the address of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, AfterValidator(check_issuer)]
    audience: Annotated[str, Field(min_length=1)]
    jwks_url: Address | None = None  # not set: from the issuer's metadata
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "PS256", "ES256", "EdDSA")
    # Only for logins through Swagger UI, where everybody can read them.
    authorization_url: Address | None = None
    token_url: Address | None = None
    client_id: str = ""  # the page's client id at the issuer
    scopes: tuple[Annotated[str, Field(pattern=SCOPE)], ...] = ()  # that a login may request, beside the visible ones

    # Signing in to the portal: offered where the portal has a client id at the issuer. The secret never leaves here.
    name: Annotated[str, Field(max_length=100)] = ""  # on the sign-in page; the issuer's host where it is empty
    portal_client_id: str = ""
    portal_client_secret: SecretStr | None = None
    portal_session_seconds: Annotated[int, Field(ge=300, le=86_400)] = 3_600  # then the issuer is asked again

    # Scopes that its tokens may carry; `*` matches any text in a scope of a product, never an operator's scope.
    grants: tuple[Annotated[str, Field(pattern=SCOPE)], ...] = ("*",)
    longest_life_seconds: Annotated[int, Field(ge=60)] = 86_400  # of a token, counted from now and from its `iat`

    def addresses(self) -> Iterator[str]:
        """All addresses that are set."""
        yield from filter(None, (self.issuer, self.jwks_url, self.authorization_url, self.token_url))
