"""A YAML document with the line of every part of it, read with the caution that foreign input asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from runtime.errors import Finding

DOCUMENT_LIMIT_BYTES = 1_000_000
NESTING_LIMIT = 50

SURROGATE = re.compile("[\ud800-\udfff]")
# What a tag that is written out must hold; implicit ones hold it by the way they were found.
STRICT_TAGS = {
    "tag:yaml.org,2002:int": re.compile(r"^(?:[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300})$"),
    "tag:yaml.org,2002:float": re.compile(r"^[-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF|nan|NaN|NAN))$"),
    "tag:yaml.org,2002:bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    "tag:yaml.org,2002:timestamp": re.compile(r"^\d{4}-\d\d-\d\d$"),
}

YamlPath = tuple[str | int, ...]
# What YAML 1.2's core types make of a part; a contract may hold any of them anywhere.
YamlNode: TypeAlias = "bool | int | float | str | list[YamlNode] | dict[str, YamlNode] | None"
YamlMapping: TypeAlias = dict[str, YamlNode]


# libyaml's is ten times as fast, where PyYAML was built with it.
FastLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainLoader(FastLoader):  # type: ignore[misc, valid-type]
    """YAML 1.2's core types: `no` is a word, and a date stays the text that it is."""


PlainLoader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
):
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


def construct_integer(loader: PlainLoader, node: yaml.ScalarNode) -> int:
    """An integer as YAML 1.2 writes it: a leading zero means nothing, a colon is no base 60."""
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)


PlainLoader.add_constructor("tag:yaml.org,2002:int", construct_integer)


@dataclass(frozen=True)
class Document:
    """What a YAML file holds, and where each part stands."""

    file: Path
    text: str
    data: Any
    lines: dict[YamlPath, int]

    def line_of(self, trail: YamlPath) -> int:
        """The line of the part at `trail`, or of the nearest part around it."""
        while trail and trail not in self.lines:
            trail = trail[:-1]
        return self.lines.get(trail, 1)


def show_trail(trail: YamlPath) -> str:
    """`schema[0].name`, as error messages write it."""
    text = ""
    for step in trail:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read_document(file: Path) -> tuple[Document | None, list[Finding]]:
    """The document, or the findings that kept it from being read."""
    try:
        raw = file.read_bytes()
        if len(raw) > DOCUMENT_LIMIT_BYTES:
            return None, [Finding(file, 1, "", f"larger than {DOCUMENT_LIMIT_BYTES:,} bytes")]
        text = raw.decode("utf-8-sig")
    except OSError as error:
        return None, [Finding(file, 1, "", f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return None, [Finding(file, 1, "", f"is not UTF-8 (byte {error.start})")]
    return parse_document(file, text)


def parse_document(file: Path, text: str) -> tuple[Document | None, list[Finding]]:
    """The document that a text is, or the findings that kept it from being one; `file` is where it stands."""
    try:
        findings = list(check_events(file, yaml.parse(text, Loader=PlainLoader)))
        if findings:
            return None, findings
        loader = PlainLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return None, [
            Finding(file, mark.line + 1 if mark else 1, "", f"is not YAML: {error.problem or error.context}")
        ]
    except yaml.YAMLError as error:
        return None, [Finding(file, 1, "", f"is not YAML: {str(error).splitlines()[0]}")]
    if node is None:
        return None, [Finding(file, 1, "", "is empty")]
    lines: dict[YamlPath, int] = {}
    findings = list(walk_node(file, node, (), lines))
    if findings:
        return None, findings
    try:
        return Document(file, text, loader.construct_document(node), lines), []
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return None, [Finding(file, line, "", f"is not YAML: {error.problem}")]
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
        return None, [
            Finding(file, 1, "", "contains a value that does not match its tag, or a number that is too long")
        ]


def check_events(file: Path, events: Any) -> Any:
    """Findings for aliases and deep nesting, before anything is built that they could blow up."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            yield Finding(
                file,
                event.start_mark.line + 1,
                "",
                "YAML anchors and aliases are not allowed: repeat the value",
            )
            return
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > NESTING_LIMIT:
            yield Finding(file, event.start_mark.line + 1, "", f"is nested deeper than {NESTING_LIMIT} levels")
            return


def walk_node(file: Path, node: yaml.Node, trail: YamlPath, lines: dict[YamlPath, int]) -> Any:
    """Notes the line of every part in `lines`; findings for duplicate keys."""
    lines[trail] = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode) and (SURROGATE.search(node.value) or "\0" in node.value):
        yield Finding(file, node.start_mark.line + 1, show_trail(trail), "contains a character that is not text")
    if isinstance(node, yaml.ScalarNode) and node.tag in STRICT_TAGS and not STRICT_TAGS[node.tag].match(node.value):
        message = f"is not YAML: {node.value[:40]!r} does not match its tag"
        yield Finding(file, node.start_mark.line + 1, show_trail(trail), message)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name in seen:
                yield Finding(
                    file,
                    key.start_mark.line + 1,
                    show_trail((*trail, name)),
                    "duplicate key",
                )
            seen.add(name)
            yield from walk_node(file, value, (*trail, name), lines)
            lines[(*trail, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from walk_node(file, item, (*trail, index), lines)
