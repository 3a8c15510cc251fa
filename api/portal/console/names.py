"""Names of API keys beside their ids."""

from __future__ import annotations

from api.portal.asking import Asking
from catalog.storage.audit import BY_KEY

KEYS_NAMED = 1000


async def name_keys(asking: Asking) -> dict[str, str]:
    """The names of keys by their ids, with and without the ledger's word before them.

    Of all keys for administrators of keys, of the visitor's own for others.
    """
    own = await asking.find("/keys/self")
    names = {own.data["id"]: own.data["name"]} if own is not None and "id" in own.data else {}
    if "keys:admin" in asking.principal.scopes:
        names |= {key["id"]: key["name"] for key in (await asking.get("/keys", ("limit", str(KEYS_NAMED)))).data}
    return names | {BY_KEY + each: name for each, name in names.items()}
