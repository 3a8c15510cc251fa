"""How contracts of tests begin."""

from __future__ import annotations


def begin(product: str, *, grants: str | None = None) -> str:
    """The first lines of a product's contract; `grants` names the product whose SQL may read this one."""
    lines = f"apiVersion: v3.1.0\nkind: DataContract\nid: {product}\nversion: 1.0.0\nstatus: active\n"
    return lines + (f"customProperties: [{{property: grants, value: [{grants}]}}]\n" if grants else "")
