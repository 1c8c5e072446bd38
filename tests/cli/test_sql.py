"""``signals sql`` on a real lake: what it answers, how it prints it, and everything it must refuse."""

import csv
import io
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pandas as pd
import psycopg2
import pytest
from typer.testing import Result

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.read_only_query import QueryError, ReadOnlyLake
from signal_assets.market.tables import DEPTH_SNAPSHOTS, TRADES
from tests.cli.conftest import one_error_line

MIDNIGHT = 1_723_075_200_000_000  # 2024-08-08T00:00:00Z
ROWS = 3_000  # more than the catalog keeps inlined, so that Parquet files are read too


@pytest.fixture(scope="module")
def home(postgres_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the addresses of a lake that all questions of this file are put to."""
    folder = tmp_path_factory.mktemp("home")
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(postgres_uri)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    url = postgres_uri.replace("postgresql://", "postgresql+psycopg2://").replace("/postgres?", f"/{name}?")
    addresses = Addresses(url, "unix:///none.sock", "redis+socket:///none.sock", f"{folder}/lake/", folder)
    lake = DuckLake(addresses)
    lake.ensure([TRADES, DEPTH_SNAPSHOTS])
    for first, count in ((0, ROWS), (ROWS, 1)):
        rows = pd.DataFrame(
            {
                "instrument": "BTCFDUSD.BINANCE",
                "trade_id": range(first, first + count),
                "event_time": range(MIDNIGHT + 1 + first, MIDNIGHT + 1 + first + count),
                "received_time": MIDNIGHT,
                "price": 6_173_763_000_000,
                "quantity": 1,
                "is_buyer_maker": True,
                "late": False,
                "flags": 0,
            }
        )
        with lake.transaction(asset="market/trades", run_id="test") as unit:
            unit.append(TRADES, rows)
    lake.close()
    addresses.write()
    return addresses.home


def test_json_keeps_every_digit(signals: Callable[..., Result], home: Path) -> None:
    query = "SELECT trade_id, event_time, price, quantity, [price] AS prices FROM market.trades ORDER BY 1 LIMIT 1"
    result = signals("sql", query, "--format", "json", "--home", str(home))
    assert result.exit_code == 0
    assert json.loads(result.stdout, parse_float=Decimal) == [
        {
            "trade_id": 0,
            "event_time": "2024-08-08T00:00:00.000001Z",
            "price": Decimal("61737.63000000"),
            "quantity": Decimal("0.00000001"),
            "prices": [Decimal("61737.63000000")],
        }
    ]


def test_csv_has_all_rows_and_plain_decimals(signals: Callable[..., Result], home: Path) -> None:
    query = "SELECT trade_id, quantity, event_time FROM market.trades ORDER BY 1"
    result = signals("sql", query, "--format", "csv", "--home", str(home))
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["trade_id", "quantity", "event_time"]
    assert rows[1] == ["0", "0.00000001", "2024-08-08 00:00:00.000001Z"]
    assert [int(row[0]) for row in rows[1:]] == list(range(ROWS + 1))


def test_a_table_says_when_it_is_cut(signals: Callable[..., Result], home: Path) -> None:
    result = signals("sql", "SELECT trade_id FROM market.trades ORDER BY 1", "--home", str(home))
    assert result.exit_code == 0
    assert [int(line) for line in result.stdout.split()[1:]] == list(range(1_000))
    assert "only the first 1,000 rows" in result.stderr


def test_an_empty_answer_is_empty_in_every_format(signals: Callable[..., Result], home: Path) -> None:
    query = "SELECT trade_id FROM market.trades WHERE false"
    assert json.loads(signals("sql", query, "--format", "json", "--home", str(home)).stdout) == []
    assert signals("sql", query, "--format", "csv", "--home", str(home)).stdout == "trade_id\n"
    assert signals("sql", query, "--home", str(home)).stdout.split() == ["trade_id"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("", "there is no statement"),
        ("/* nothing */", "there is no statement"),
        ("SELECT 1; SELECT 2", "one statement at a time, these are 2"),
        ("SELECT 1; DROP TABLE market.trades", "one statement at a time"),
        ("SELECT * FROM market.nothing", "does not exist"),
        ("SELECT nothing FROM market.trades", 'column "nothing" not found'),
        ("SELECT 1/", "syntax error"),
    ],
)
def test_wrong_sql_is_one_line(signals: Callable[..., Result], home: Path, query: str, message: str) -> None:
    assert message.lower() in one_error_line(signals("sql", query, "--home", str(home))).lower()


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM market.trades",
        "INSERT INTO market.trades SELECT * FROM market.trades",
        "UPDATE market.trades SET price = 1",
        "DROP TABLE market.trades",
        "ALTER TABLE market.trades ADD COLUMN x INT",
        "CREATE TABLE memory.main.x AS SELECT 1",
        "TRUNCATE market.trades",
        "COPY market.trades TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/x.db'",
        "ATTACH 'postgres:host=/tmp' AS other",
        "DETACH lake",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET lock_configuration = false",
        "RESET allowed_directories",
        "CALL lake.set_option('data_inlining_row_limit', 1)",
        "CALL ducklake_expire_snapshots('lake')",
        "BEGIN",
        "VACUUM",
        "CHECKPOINT",
        "EXPLAIN ANALYZE DELETE FROM market.trades",
    ],
)
def test_nothing_but_select(signals: Callable[..., Result], home: Path, query: str, tmp_path: Path) -> None:
    result = signals("sql", query.format(folder=tmp_path), "--home", str(home))
    assert "only SELECT is allowed here" in one_error_line(result)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM READ_CSV_AUTO('{secret}')",
        "SELECT * FROM '{secret}'",
        'SELECT * FROM "{secret}"',
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM main.read_blob('{secret}')",
        "SELECT (SELECT content FROM read_text('{secret}'))",
        "WITH a AS (FROM read_json('{secret}')) FROM a",
        "FROM range(1) UNION ALL FROM glob('{folder}/*')",
        "SELECT 1 WHERE EXISTS (FROM sniff_csv('{secret}'))",
        "FROM query('FROM read_text(''{secret}'')')",
        "FROM query_table('market.trades')",
        "FROM read_parquet('{folder}/lake/**/*.parquet')",
        "FROM parquet_metadata('{secret}')",
        "FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "FROM postgres_execute('__ducklake_metadata_lake', 'DROP SCHEMA lake CASCADE')",
        "FROM postgres_scan('host=/tmp', 'public', 'x')",
        "FROM __ducklake_metadata_lake.lake.ducklake_snapshot",
        "FROM ducklake_expire_snapshots('lake')",
        "FROM ducklake_merge_adjacent_files('lake')",
        "FROM ducklake_set_option('lake', 'x', 1)",
        "FROM duckdb_databases()",
        "FROM duckdb_databases",
        "FROM duckdb_settings()",
        "FROM duckdb_secrets()",
        "FROM json_execute_serialized_sql('x')",
        "FROM enable_logging()",
        "SELECT write_log('x')",
    ],
)
def test_nothing_but_the_lake(signals: Callable[..., Result], home: Path, query: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nhidden\n")
    result = signals("sql", query.format(secret=secret, folder=tmp_path), "--home", str(home))
    line = one_error_line(result)
    assert "may not be" in line
    assert "hidden" not in line


def test_the_connection_itself_neither_writes_nor_reads_files(home: Path, tmp_path: Path) -> None:
    """The walls behind the statement check, tried without it."""
    secret = tmp_path.parent / f"{tmp_path.name}.csv"  # outside the lake's folder
    secret.write_text("word\nhidden\n")
    with ReadOnlyLake(Addresses.resolve(home)) as lake:
        for statement, reason in (
            ("DELETE FROM market.trades", "read-only"),
            (f"FROM read_csv('{secret}')", "disabled by configuration"),
            (f"COPY (SELECT 1) TO '{secret}'", "disabled by configuration"),
            (f"ATTACH '{secret}.db'", "disabled by configuration"),
            ("SET enable_external_access = true", "locked"),
            (
                "FROM postgres_execute('__ducklake_metadata_lake', 'CREATE TABLE x (y int)')",
                "read-only transaction",
            ),
        ):
            with pytest.raises(Exception, match=reason):
                lake._connection.execute(statement)
        rows = [1]  # a local variable must not be a table
        with pytest.raises(QueryError, match="rows does not exist"), lake.ask("FROM rows"):
            raise AssertionError(rows)
    assert secret.read_text() == "word\nhidden\n"


def test_useful_questions_are_allowed(home: Path) -> None:
    with ReadOnlyLake(Addresses.resolve(home)) as lake:
        for question, first in (
            ("SELECT count(*) FROM market.trades", ROWS + 1),
            ("WITH a AS (SELECT 1 AS x) SELECT x FROM a", 1),
            ("DESCRIBE market.trades", "instrument"),
            ("SELECT table_name FROM information_schema.tables ORDER BY 1", "depth_snapshots"),
            ("SELECT count(*) > 0 FROM lake.snapshots()", True),
            ("SELECT max(range) FROM range(4)", 3),
            ("VALUES (5)", 5),
        ):
            with lake.ask(question) as answer:
                assert next(iter(answer.rows()))[0] == first, question
