"""The names of schemas and operations, from which generators make those of types and functions.

Most read like the product and the dataset. Where another product or dataset could read the same, a digest of what is
meant ends the name: it depends on nothing else that the document holds, so it is the same for every caller, always.
"""

from __future__ import annotations

import hashlib
import re

from catalog.model.dataset import Dataset

# Names whose words can be split again without ambiguity.
PLAIN_PRODUCT = re.compile(r"[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*")
PLAIN_DATASET = re.compile(r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*")
MAJOR = re.compile(r"v[0-9]+")  # between product and dataset
PAGE, RAW = "Page", "Raw"  # what the names of schemas about a record's end with
LAST_WORDS = frozenset({PAGE.lower(), RAW.lower()})
# What follows the first word of a verb: `list` of a product called `changes` is not `list_changes`.
FIRST_WORDS = frozenset(
    {"changes", "lineage", "loads", "profile", "provenance", "quality", "receipt", "revisions", "sizes"}
)
DIGEST_CHARACTERS = 8


def tag_of(dataset: Dataset) -> str:
    """The tag of a dataset's operations."""
    return f"{dataset.product} v{dataset.major} · {dataset.name}"


def schema_name(dataset: Dataset) -> str:
    """The name of a record's schema: words in capitals, nothing that a generator would trip over."""
    words = re.findall(r"[A-Za-z0-9]+", words_of(dataset))
    return "".join(word[:1].upper() + word[1:] for word in words) + digest_of(dataset, "_")


def operation_id(verb: str, dataset: Dataset) -> str:
    """A name for an operation that code generators turn into a function.

    ValueError where the second word of `verb` is not one of FIRST_WORDS: a product may begin with that word,
    and another dataset's operation could then have the same name.
    """
    if unknown := set(verb.split("_")[1:]) - FIRST_WORDS:
        raise ValueError(f"operation {verb!r}: {', '.join(unknown)} is not in FIRST_WORDS")
    words = re.findall(r"[a-z0-9]+", words_of(dataset).lower())
    return "_".join([verb, *words]) + digest_of(dataset, "__")


def words_of(dataset: Dataset) -> str:
    """What names are made of."""
    return f"{dataset.product} v{dataset.major} {dataset.name}"


def digest_of(dataset: Dataset, separator: str) -> str:
    """What ends the names of a dataset whose words another one could have as well; mostly nothing."""
    if is_plain(dataset):
        return ""
    place = f"{dataset.product}\n{dataset.major}\n{dataset.name}"
    return separator + hashlib.sha256(place.encode()).hexdigest()[:DIGEST_CHARACTERS]


def is_plain(dataset: Dataset) -> bool:
    """Whether no other dataset's names can have the same words."""
    if not PLAIN_PRODUCT.fullmatch(dataset.product) or not PLAIN_DATASET.fullmatch(dataset.name):
        return False
    product, name = dataset.product.split("-"), dataset.name.split("_")
    if any(MAJOR.fullmatch(word) for word in (*product, *name)):
        return False
    return product[0] not in FIRST_WORDS and name[-1] not in LAST_WORDS
