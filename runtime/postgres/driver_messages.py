"""Driver error messages for the ledger and for owners, without values of records. Pure.

Both databases write the value that they refuse into their messages. Which messages hold none is known by their kind:
by SQLSTATE for PostgreSQL, by exception for DuckDB.
"""

from __future__ import annotations

import re

import duckdb
import psycopg

# By the first two signs of the SQLSTATE: about names, resources, the server.
WITHOUT_VALUES = ("08", "0A", "25", "42", "53", "54", "55", "57", "58")
DATA = "22"  # about values, which are in quotes
IN_QUOTES = re.compile(r"\".*\"|'.*'", re.DOTALL)  # to the last quote: a value may hold some itself
# What is wrong with a statement or with the machine, not with a value.
ABOUT_STATEMENTS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.NotImplementedException,
    duckdb.OutOfMemoryException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
)
ABOUT_FILES = (duckdb.IOException, duckdb.InvalidInputException)  # names of files, and sometimes values, in quotes


def describe_postgres(error: psycopg.Error) -> str:
    """The server's sentence, or as much of it as names no value."""
    state = error.sqlstate or ""
    said = error.diag.message_primary
    if said and state[:2] in WITHOUT_VALUES:
        return said
    if said and state[:2] == DATA:
        return IN_QUOTES.sub('"…"', said)
    return f"{type(error).__name__}, {state}" if state else type(error).__name__


def describe_duckdb(error: duckdb.Error) -> str:
    """The first line of the message, or as much of it as names no value."""
    line = next(iter(str(error).splitlines()), "")
    if isinstance(error, ABOUT_STATEMENTS):
        return line
    if isinstance(error, ABOUT_FILES):
        return IN_QUOTES.sub("'…'", line)
    kind, colon, _ = line.partition(":")
    return kind if colon else type(error).__name__
