"""Checks of settings beyond single values: combinations, production, and unknown variables."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from pydantic import SecretStr, ValidationError

from runtime.errors import SettingsError
from runtime.near_misses import find_near
from runtime.settings.token_issuers import TokenIssuer
from runtime.settings.values import OWN_PREFIX

SECRET_BYTES = 32
# What Kubernetes sets for a service that is called decant.
SERVICE_LINK = re.compile(r"DECANT_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")


def check_issuers(issuers: Sequence[TokenIssuer], *, in_production: bool) -> None:
    """SettingsError for a duplicate issuer, or for an address without TLS in production."""
    names = [issuer.issuer for issuer in issuers]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"DECANT_TOKEN_ISSUERS: {name} is listed twice.")
    for issuer in issuers if in_production else ():
        for address in issuer.addresses():
            if not address.lower().startswith("https://"):
                raise SettingsError(f"DECANT_TOKEN_ISSUERS: {address} must start with https:// in production.")


def check_known(fields: Collection[str]) -> None:
    """SettingsError where a variable DECANT_… of the environment is read into none of the fields."""
    if unknown := list(find_unknown(fields)):
        raise SettingsError("\n".join(unknown))


def check_pepper_versions(versions: Collection[int]) -> None:
    """SettingsError where a pepper has the version of the secret."""
    if any(version < 2 for version in versions):
        raise SettingsError("DECANT_PEPPERS: versions begin at 2; version 1 is DECANT_SECRET.")


def check_production(
    secret: SecretStr | None, peppers: Mapping[int, SecretStr], database_url: SecretStr | None
) -> None:
    """SettingsError where a secret is short, or the database is the embedded one of development."""
    if secret is None or len(secret.get_secret_value()) < SECRET_BYTES:
        raise SettingsError(f"DECANT_SECRET must hold at least {SECRET_BYTES} characters in production.")
    if any(len(text.get_secret_value()) < SECRET_BYTES for text in peppers.values()):
        raise SettingsError(
            f"Each secret of DECANT_PEPPERS must hold at least {SECRET_BYTES} characters in production."
        )
    if database_url is None or not database_url.get_secret_value():
        raise SettingsError(
            "DECANT_DATABASE_URL must be set in production: the embedded Postgres is for development."
        )


def find_unknown(fields: Collection[str]) -> Iterator[str]:
    """An error for each variable DECANT_… of the environment that belongs to none of the fields."""
    known = {f"{OWN_PREFIX}{name.upper()}" for name in fields}
    for name in sorted(os.environ):
        if name.upper().startswith(OWN_PREFIX) and name.upper() not in known and not SERVICE_LINK.fullmatch(name):
            near = find_near(name, known)
            yield f"{name}: unknown setting" + (f"; did you mean {near}?" if near else ".")


def explain_errors(error: ValidationError) -> Iterator[str]:
    """One line for each invalid variable, with the path of the value where it holds JSON."""
    for detail in error.errors():
        name, *place = map(str, detail["loc"])
        yield ": ".join(filter(None, (f"DECANT_{name.upper()}", ".".join(place), detail["msg"])))
