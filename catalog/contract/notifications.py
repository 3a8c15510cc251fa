"""`support` of a contract -> the channels that are told of incidents, with a finding for each that cannot be."""

from __future__ import annotations

from open_data_contract_standard.model import OpenDataContractStandard
from open_data_contract_standard.model import Support as OdcsSupport

from catalog.document.custom_properties import read_custom_properties
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlNode, YamlPath
from catalog.inputs.permits import Permits
from catalog.inputs.variables import VARIABLE
from catalog.model.notifications import ALL, EMAIL, EVENTS, MAILTO, NAME_CHARACTERS, TOOLS, Channel, read_recipients
from runtime.near_misses import find_near

OWNER = "support channel"


def build_channels(
    contract: OpenDataContractStandard, product: str, major: int, permits: Permits, findings: Findings
) -> tuple[Channel, ...]:
    """The channels that are told of something."""
    channels: dict[str, Channel] = {}
    for index, part in enumerate(contract.support or []):
        trail: YamlPath = ("support", index)
        custom = read_custom_properties(part.customProperties, (*trail, "customProperties"), findings, OWNER)
        if "notify" not in custom:
            continue
        events = read_events(custom["notify"], trail, findings)
        name = (part.channel or "").strip()
        if not name or len(name) > NAME_CHARACTERS or not name.isprintable():
            findings.error(trail, f"channel: 1 to {NAME_CHARACTERS} printable characters are needed for notify")
            continue
        if name in channels:
            findings.error(trail, f"channel: {name!r} is repeated")
        tool = read_tool(part, trail, findings)
        address = read_address(part, tool, trail, permits, findings)
        if tool and address:
            channels[name] = Channel(product, major, name, tool, address, events)
    return tuple(channels.values())


def read_events(value: YamlNode, trail: YamlPath, findings: Findings) -> frozenset[str]:
    """The events that a channel is told of; none of those that are not known."""
    where = (*trail, "customProperties")
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        findings.error(where, f"notify: {value!r} is not a list of events such as [load_failed, freshness_missed]")
        return frozenset()
    events: set[str] = set()
    for word in map(str, value):
        if word == ALL:
            events |= EVENTS.keys()
        elif word in EVENTS:
            events.add(word)
        else:
            near = find_near(word, (*EVENTS, ALL))
            hint = f"did you mean {near!r}?" if near else f"known are {', '.join((*EVENTS, ALL))}"
            findings.error(where, f"notify: unknown event {word!r}; {hint}")
    return frozenset(events)


def read_tool(part: OdcsSupport, trail: YamlPath, findings: Findings) -> str | None:
    """How the channel is reached: its `tool`, which a mailto: address says by itself; None where it is not known."""
    if not part.tool and (part.url or "").startswith(MAILTO):
        return EMAIL
    tool = (part.tool or "").strip().lower()
    if tool in TOOLS:
        return tool
    near = find_near(tool, TOOLS) if tool else None
    hint = f"did you mean {near!r}?" if near else f"notify knows {', '.join(TOOLS)}"
    findings.error((*trail, "tool"), f"unknown tool {part.tool!r}; {hint}")
    return None


def read_address(
    part: OdcsSupport, tool: str | None, trail: YamlPath, permits: Permits, findings: Findings
) -> str | None:
    """The address as it is written; None where it is one that may not be used, or holds a secret."""
    where, text = (*trail, "url"), part.url or ""
    if tool == EMAIL and text.startswith(MAILTO):
        try:
            read_recipients(text)
        except ValueError as error:
            findings.error(where, f"{error}; mailto: takes addresses alone, separated by commas")
            return None
        return text
    match = VARIABLE.fullmatch(text)
    if match is None:
        ways = "mailto:ops@example.org or ${OPS_MAIL}" if tool == EMAIL else "${OPS_CHAT}"
        # The text itself is not repeated: it may hold a token.
        findings.error(where, f"notify needs an address such as {ways}: a secret belongs in a variable, whole")
        return None
    if problem := permits.refuse_variable(match[1]):
        findings.error(where, problem)
        return None
    return text
