"""Questions of people to the lake: one SELECT that can neither write nor look at anything but the lake's tables.

Belongs here: what a question may contain and the connection it runs on. Does not belong here: our own statements
(``duck_lake``) and printing (``cli/sql``).

Three walls, each enough for most of it: the statement's syntax tree may hold only known table functions and plain
table names; the DuckDB connection has the lake attached read-only, no access to files outside the lake's folder and a
locked configuration; PostgreSQL sessions behind it are read-only.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import quote

import duckdb

from resources.addresses import Addresses
from resources.duck_lake_connection import connect
from resources.duck_lake_sql import CATALOG
from resources.lake import LakeError

TABLE_FUNCTIONS: Final = frozenset(
    {
        "range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "summary", "show",
        "duckdb_columns", "duckdb_tables", "duckdb_functions", "duckdb_types", "duckdb_keywords", "duckdb_schemas",
        "pragma_version", "pragma_table_info", "icu_calendar_names", "pg_timezone_names",
        "snapshots", "last_committed_snapshot", "current_snapshot", "table_info", "table_changes", "table_insertions",
        "table_deletions", "ducklake_snapshots", "ducklake_table_info", "ducklake_table_insertions",
        "ducklake_table_deletions", "ducklake_current_snapshot", "ducklake_last_committed_snapshot",
    }
)  # fmt: skip
"""What may stand behind FROM with parentheses; everything else may reach outside (read_csv, postgres_query, query…)."""

CATALOGS: Final = frozenset({"", CATALOG, "system"})
FORBIDDEN_TABLES: Final = frozenset({"duckdb_databases", "duckdb_secrets", "duckdb_settings", "duckdb_logs"})
"""The engine's own views that tell addresses."""

FORBIDDEN_FUNCTIONS: Final = frozenset({"write_log", "nextval", "json_execute_serialized_sql", "set_config"})
_PLAIN_NAME: Final = re.compile(r"^\w+$")
_MEMORY_LIMIT: Final = "1GB"
_NO_LAKE: Final = "creating a new DuckLake is explicitly disabled"


class QueryError(LakeError):
    """The question cannot be answered; one line says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Column names, and rows as they are fetched."""

    columns: tuple[str, ...]
    cursor: duckdb.DuckDBPyConnection

    def rows(self, size: int = 1_000) -> Iterator[tuple[Any, ...]]:
        """All rows, a batch at a time in memory.

        Raises
        ------
        QueryError
            If the engine gives up on the way.
        """
        while True:
            try:
                batch = self.cursor.fetchmany(size)
            except duckdb.Error as error:
                raise QueryError(_first_line(error)) from None
            if not batch:
                return
            yield from batch


class ReadOnlyLake:
    """The lake for one question; a context manager.

    Raises
    ------
    LakeError
        If it cannot be opened, or nothing was written yet.
    """

    def __init__(self, addresses: Addresses) -> None:
        try:
            self._connection = connect(_read_only(addresses), read_only=True)
        except LakeError as error:
            if _NO_LAKE in str(error):
                raise QueryError(
                    f"there is no lake at {addresses.lake_path} yet: no run has written anything"
                ) from None
            raise
        folder = addresses.lake_path.rstrip("/") + "/"
        for setting, value in (
            ("temp_directory", "''"),
            ("memory_limit", f"'{_MEMORY_LIMIT}'"),
            ("python_enable_replacements", "false"),
            ("autoload_known_extensions", "false"),
            ("allow_community_extensions", "false"),
            ("allowed_directories", "['" + folder.replace("'", "''") + "']"),
            ("enable_external_access", "false"),
            ("lock_configuration", "true"),
        ):
            self._connection.execute(f"SET {setting}={value}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        with suppress(duckdb.Error):
            self._connection.close()

    @contextmanager
    def ask(self, sql: str) -> Iterator[Answer]:
        """Run one SELECT.

        Raises
        ------
        QueryError
            One line: not a single SELECT, a function or file that may not be used, or what the engine says.
        """
        check_question(sql)
        try:
            cursor = self._connection.execute(sql)
            columns = tuple(str(column[0]) for column in cursor.description or ())
        except duckdb.Error as error:
            raise QueryError(_first_line(error)) from None
        yield Answer(columns, cursor)


def check_question(sql: str) -> None:
    """Refuse everything but one SELECT over the lake's tables.

    Raises
    ------
    QueryError
        One line that says what is not allowed.

    Examples
    --------
    >>> check_question("SELECT count(*) FROM market.trades")
    >>> check_question("DROP TABLE market.trades")
    Traceback (most recent call last):
        ...
    resources.read_only_query.QueryError: only SELECT is allowed here, this is DROP
    """
    with duckdb.connect(":memory:") as parser:
        try:
            statements = parser.extract_statements(sql)
        except duckdb.Error as error:
            raise QueryError(_first_line(error)) from None
        if not statements:
            raise QueryError('there is no statement: try "SELECT count(*) FROM market.trades"')
        if len(statements) > 1:
            raise QueryError(f"one statement at a time, these are {len(statements)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(f"only SELECT is allowed here, this is {statements[0].type.name}")
        row = parser.execute("SELECT json_serialize_sql(?)", [statements[0].query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise QueryError(f"only SELECT is allowed here: {tree.get('error_message', 'this is another statement')}")
    for node in _nodes(tree):
        _check_node(node)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _check_node(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if kind == "TABLE_FUNCTION":
        name = str(node.get("function", {}).get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise QueryError(f"the table function {name or 'used here'} may not be used: only the lake can be read")
    elif kind == "BASE_TABLE":
        _check_table(node)
    elif "function_name" in node and str(node["function_name"]).lower() in FORBIDDEN_FUNCTIONS:
        raise QueryError(f"the function {node['function_name']} may not be used: only the lake can be read")


def _check_table(node: dict[str, Any]) -> None:
    catalog, schema = str(node.get("catalog_name", "")), str(node.get("schema_name", ""))
    name = str(node.get("table_name", ""))
    if not _PLAIN_NAME.match(name):
        raise QueryError(f"{name} is no table of the lake: files may not be read")
    if catalog.lower() not in CATALOGS or schema.lower().startswith("__ducklake") or name.lower() in FORBIDDEN_TABLES:
        raise QueryError(
            f"{'.'.join(filter(None, (catalog, schema, name)))} may not be read: only the tables of the lake"
        )


def _read_only(addresses: Addresses) -> Addresses:
    """The same catalog in sessions that PostgreSQL itself keeps from writing."""
    option = "options=" + quote("-c default_transaction_read_only=on")
    separator = "&" if "?" in addresses.postgres_url else "?"
    return replace(addresses, postgres_url=f"{addresses.postgres_url}{separator}{option}")


def _first_line(error: BaseException) -> str:
    """The engine's message up to the excerpt of the statement it appends."""
    text = str(error).strip().split("\n\n", 1)[0]
    return " ".join(text.split()) or type(error).__name__
