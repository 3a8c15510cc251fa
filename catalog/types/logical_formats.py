"""`format` of texts and numbers, as the contract standard names them: what each takes, in linear time.

The regular expressions run in DuckDB (RE2) and in Python alike, over the whole text.
"""

from __future__ import annotations

from dataclasses import dataclass

LABEL = "[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
HOSTNAME = rf"{LABEL}(?:\.{LABEL})*"
BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"{BYTE}(?:\.{BYTE}){{3}}"
ATOM = "[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+"
PERCENT = "%[0-9A-Fa-f]{2}"
UNRESERVED = r"0-9A-Za-z._~!$&'()*+,;=\-"  # with what may separate parts of a part
GROUP = "[0-9A-Fa-f]{1,4}"


def write_ipv6() -> str:
    """IPv6 addresses (RFC 4291): eight groups, of which one run of zeros may be left out."""
    last = f"(?:{GROUP}:{GROUP}|{IPV4})"
    forms = [f"(?:{GROUP}:){{6}}{last}"]
    for after in range(5, -1, -1):
        # `after` groups and then the last two come after the gap.
        before = 5 - after
        start = f"(?:{GROUP}(?::{GROUP}){{0,{before - 1}}})?" if before else ""
        forms.append(f"{start}::(?:{GROUP}:){{{after}}}{last}" if after else f"{start}::{last}")
    forms.append(f"(?:{GROUP}(?::{GROUP}){{0,5}})?::{GROUP}")
    forms.append(f"(?:{GROUP}(?::{GROUP}){{0,6}})?::")
    return "|".join(forms)


def write_uri() -> str:
    """URIs with a scheme (RFC 3986)."""
    segment = f"(?:[{UNRESERVED}:@]|{PERCENT})"
    user = f"(?:(?:[{UNRESERVED}:]|{PERCENT})*@)?"
    host = rf"(?:\[(?:{write_ipv6()}|[vV][0-9A-Fa-f]+\.[{UNRESERVED}:]+)\]|(?:[{UNRESERVED}]|{PERCENT})*)"
    absolute = f"//{user}{host}(?::[0-9]*)?(?:/{segment}*)*"
    path = f"/(?:{segment}+(?:/{segment}*)*)?|{segment}+(?:/{segment}*)*|"
    rest = f"(?:{segment}|[/?])*"
    return rf"[A-Za-z][0-9A-Za-z+.-]*:(?:{absolute}|{path})(?:\?{rest})?(?:#{rest})?"


@dataclass(frozen=True)
class TextFormat:
    """A form that a text must have."""

    expected: str
    regex: str | None = None  # none: any text will do
    longest: int | None = None  # characters


TEXT_FORMATS = {
    # A dot-string and a domain; what takes quotes or a comment to write is not taken (RFC 5321, section 4.1.2).
    "email": TextFormat(
        "an e-mail address such as ada@example.org", rf"(?:{ATOM})(?:\.{ATOM})*@{HOSTNAME}", longest=254
    ),
    "uri": TextFormat("a URI such as https://example.org/", write_uri()),
    "uuid": TextFormat(
        "a UUID such as 6f1e2d3c-0000-4000-8000-000000000000",
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    ),
    "hostname": TextFormat("a host name such as www.example.org", HOSTNAME, longest=253),
    "ipv4": TextFormat("an IPv4 address such as 192.0.2.1", IPV4),
    "ipv6": TextFormat("an IPv6 address such as 2001:db8::1", write_ipv6()),
    "byte": TextFormat("base64", "(?:[0-9A-Za-z+/]{4})*(?:[0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?"),
    # How these are shown is a form's business; any text is one.
    "binary": TextFormat("text"),
    "password": TextFormat("text"),
}
INTEGER_FORMATS = {
    f"{sign}{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "i" else (0, 2**bits - 1)
    for sign in "iu"
    for bits in (8, 16, 32, 64, 128)
}
NUMBER_FORMATS = {"f32": 3.4028234663852886e38, "f64": 1.7976931348623157e308}  # the largest finite value
# What a bigint cannot hold is kept in this many decimal digits.
WIDE_FORMATS = {"u64": 20, "i128": 38, "u128": 38}
