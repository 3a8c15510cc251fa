"""Who may sign access tokens, as the settings have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from runtime.settings.values import check_address, check_issuer

# What public keys verify. HMAC is not among them: whoever could check a token could make one.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]

Address = Annotated[str, AfterValidator(check_address)]
SCOPE = r"^[\x21\x23-\x5B\x5D-\x7E]+$"  # RFC 6749, appendix A.4


class TokenIssuer(BaseModel):
    """Who may sign access tokens, for which audience, and where its keys are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, AfterValidator(check_issuer)]
    audience: Annotated[str, Field(min_length=1)]
    jwks_url: Address | None = None  # not set: as the issuer's own metadata say
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "PS256", "ES256", "EdDSA")
    # Only for people who log in through Swagger UI; anybody may read these there.
    authorization_url: Address | None = None
    token_url: Address | None = None
    client_id: str = ""  # as whom the page asks the issuer
    scopes: tuple[Annotated[str, Field(pattern=SCOPE)], ...] = ()  # what a login may ask for, beside what is seen

    # What its tokens may carry; `*` stands for any text in a scope of a product, never for an operator's scope.
    grants: tuple[Annotated[str, Field(pattern=SCOPE)], ...] = ("*",)
    longest_life_seconds: Annotated[int, Field(ge=60)] = 86_400  # of a token, from now and from its `iat`

    def addresses(self) -> Iterator[str]:
        """Every address that is set."""
        yield from filter(None, (self.issuer, self.jwks_url, self.authorization_url, self.token_url))
