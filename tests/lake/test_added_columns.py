"""A table that an older version made: columns declared since are added, anything else is refused in one line."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from structlog.testing import capture_logs

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_columns import added_columns, column_definition, what_to_do_with_rows
from resources.duck_lake_sql import declared_columns
from resources.lake import LakeError, Progress
from resources.lake_maintenance import Keep, maintain
from resources.platform_tables import PROGRESS, RAW_STAGE
from signal_assets.event_time import DAY
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.table import Column, ColumnType, SchemaError, Table
from signal_assets.window import Window

MIDNIGHT = 19_943 * DAY  # 2024-08-08
OLD = Table(
    "sums.sums",
    "As the older version declares it.",
    (
        Column("instrument", ColumnType.TEXT, "Instrument"),
        Column("time", ColumnType.TIME, "Time", "µs UTC"),
        Column("total", ColumnType.COUNT, "Sum"),
    ),
    ("instrument", "time"),
    "window",
    "time",
)
ADDED = (
    Column("fee", ColumnType.PRICE, "Price", default=-12_500_001),
    Column("volume", ColumnType.QUANTITY, "Quantity", default=3 * 10**8),
    Column("seen", ColumnType.TIME, "Time", "µs UTC", default=MIDNIGHT + 7),
    Column("note", ColumnType.TEXT, "Text", default="it's"),
    Column("late", ColumnType.FLAG, "Flag", default=False),
    Column("slope", ColumnType.REAL, "Number", default=math.nan),
    Column("rows", ColumnType.COUNT, "Count, perhaps", nullable=True),
)
NEW = replace(OLD, columns=(OLD.columns[0], *ADDED, *OLD.columns[1:]))
NOTHING = Keep(timedelta(days=1), timedelta(days=1))


def old_rows(count: int, day: int) -> pd.DataFrame:
    times = [MIDNIGHT + day * DAY + 1 + i for i in range(count)]
    return pd.DataFrame({"instrument": "A.B", "time": times, "total": list(range(count))})


def new_row(time: int) -> pd.DataFrame:
    given = {"fee": 1, "volume": 2, "seen": 3, "note": "new", "late": True, "slope": 0.5, "total": 9}
    rows = pd.array([None], dtype="Int64")
    return pd.DataFrame({"instrument": ["A.B"], "time": [time], **{k: [v] for k, v in given.items()}, "rows": rows})


def write(lake: DuckLake, table: Table, frame: pd.DataFrame) -> None:
    with lake.transaction(asset=f"{table.stage}/{table.short_name}", run_id="a") as unit:
        unit.append(table, frame)


def raw_data_reaches(lake: DuckLake, **ends: int) -> None:
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        for group, end in ends.items():
            unit.advance("market/trades", group, None, Progress(MIDNIGHT, end))


@pytest.fixture
def lakes(addresses: Addresses) -> Iterator[list[DuckLake]]:
    """Three processes' lakes: one of the older version, two of the newer."""
    made = [DuckLake(addresses) for _ in range(3)]
    yield made
    for lake in made:
        lake.close()


@pytest.mark.slow
def test_added_columns_hold_their_default_in_every_row_there_is(lakes: list[DuckLake]) -> None:
    old, new, _ = lakes
    old.ensure([OLD])
    write(old, OLD, old_rows(2_500, 0))  # more than stays in the catalog: a Parquet file
    write(old, OLD, old_rows(2, 1))  # stays in the catalog
    raw_data_reaches(old, crypto=MIDNIGHT + DAY + 5, forex=MIDNIGHT + 2 * DAY, gone=MIDNIGHT + 7)
    with capture_logs() as said:
        new.ensure([NEW])
        new.ensure([NEW])
    lines = [line for line in said if line["event"].startswith("columns added")]
    assert [line["table"] for line in lines] == ["sums.sums"]
    # The second day is under way in one group; another has been gone since the first.
    assert "signals backfill --from 2024-08-08 --to 2024-08-08 --assets sums/sums;" in lines[0]["rows_before"]

    def rows_before() -> pd.DataFrame:
        return new.read(NEW, end=MIDNIGHT + DAY + 2)

    def check(rows: pd.DataFrame) -> None:
        assert len(rows) == 2_502
        assert list(rows.columns) == [column.name for column in NEW.columns]
        for name, value in {"fee": -12_500_001, "volume": 3 * 10**8, "seen": MIDNIGHT + 7, "late": False}.items():
            assert set(rows[name]) == {value}, name
        assert set(rows["note"]) == {"it's"}
        assert rows["slope"].isna().all()
        assert rows["rows"].isna().all()
        NEW.conform(rows)

    check(rows_before())
    write(new, NEW, new_row(MIDNIGHT + DAY + 10))
    write(old, OLD, old_rows(1, 2))  # a process of the older version that has not been ended yet
    check(rows_before())
    assert new.read(NEW, start=MIDNIGHT + DAY + 2)["fee"].tolist() == [1, -12_500_001]
    maintain(new, NOTHING)  # flushes, merges and rewrites files from before and after
    check(rows_before())
    assert new.read(NEW, start=MIDNIGHT + DAY + 2)["note"].tolist() == ["new", "it's"]
    with new.transaction(asset="sums/sums", run_id="again") as unit:
        unit.replace(NEW, new_row(MIDNIGHT + 1), Window(MIDNIGHT, MIDNIGHT + DAY), ["A.B"])
    assert new.read(NEW, end=MIDNIGHT + DAY)["note"].tolist() == ["new"]
    comments = dict(new.query("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'sums'"))
    assert comments["seen"] == "Time [µs UTC]"


@pytest.mark.slow
def test_of_processes_that_start_together_one_adds_the_columns(addresses: Addresses) -> None:
    first = DuckLake(addresses)
    first.ensure([OLD])
    write(first, OLD, old_rows(3, 0))
    lakes = [DuckLake(addresses) for _ in range(4)]
    for lake in lakes:
        lake.connection()
    with capture_logs() as said, ThreadPoolExecutor(len(lakes)) as pool:
        list(pool.map(lambda lake: lake.ensure([NEW]), lakes))
    assert [line["table"] for line in said if line["event"].startswith("columns added")] == ["sums.sums"]
    assert [lake.read(NEW)["note"].tolist() for lake in lakes] == [["it's"] * 3] * 4
    for lake in (first, *lakes):
        lake.close()


@pytest.mark.slow
def test_nothing_is_added_where_one_column_cannot_be(lakes: list[DuckLake], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, _ = lakes
    other = replace(OLD, name="sums.others")
    grown = replace(NEW, name="sums.others")
    old.ensure([OLD, other])
    monkeypatch.setattr(
        "resources.duck_lake.column_definition",
        lambda column: column_definition(column) + ("" if column.name != "rows" else " NO SUCH WORD"),
    )
    with pytest.raises(LakeError, match="refused a statement"):
        new.ensure([NEW, grown])
    assert set(old.query("SELECT column_name FROM duckdb_columns() WHERE schema_name = 'sums'")) == {
        (name,) for name, _ in declared_columns(OLD)
    }
    monkeypatch.undo()
    new.ensure([NEW, grown])
    assert new.read(NEW).empty


@pytest.mark.slow
def test_progress_moves_in_a_table_of_the_platforms_that_has_grown(
    lakes: list[DuckLake], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _, new = lakes
    old.ensure(())
    with old.transaction(asset="sums/sums", run_id="a") as unit:
        unit.advance("sums/sums", "crypto", None, Progress(MIDNIGHT, MIDNIGHT + 1))
    host = Column("host", ColumnType.TEXT, "Machine", default="unknown")
    grown = replace(PROGRESS, columns=(PROGRESS.columns[0], host, *PROGRESS.columns[1:]))
    monkeypatch.setattr("resources.duck_lake.PLATFORM_TABLES", (grown,))
    new.ensure(())
    assert new.query("SELECT host FROM lake.platform.progress") == [("unknown",)]
    with new.transaction(asset="sums/sums", run_id="b") as unit:  # statements name their columns: order does not matter
        unit.advance("sums/sums", "crypto", Progress(MIDNIGHT, MIDNIGHT + 1), Progress(MIDNIGHT, MIDNIGHT + 2))
    assert new.progress("sums/sums", "crypto") == Progress(MIDNIGHT, MIDNIGHT + 2)


def stored(table: Table) -> dict[str, str]:
    return dict(declared_columns(table))


def test_what_is_not_an_added_column_is_refused_with_table_column_types_and_a_way_out() -> None:
    dropped = stored(OLD) | {"mean": "DOUBLE"}
    with pytest.raises(
        LakeError, match=r"^sums\.sums has a column mean \(DOUBLE\) in the lake .*go on with the version"
    ):
        added_columns(OLD, dropped)
    renamed = {("amount" if name == "total" else name): kind for name, kind in stored(OLD).items()}
    with pytest.raises(LakeError, match=r"^sums\.sums has a column amount \(BIGINT\).*not declared.*begin a new one"):
        added_columns(OLD, renamed)
    with pytest.raises(LakeError, match=r"^sums\.sums\.total is DOUBLE in the lake, declared is BIGINT; only added"):
        added_columns(OLD, stored(OLD) | {"total": "DOUBLE"})
    bare = replace(OLD, columns=(*OLD.columns, Column("mean", ColumnType.REAL, "Mean")))
    with pytest.raises(
        LakeError, match=r"^sums\.sums\.mean is missing in the lake, declared is DOUBLE, .*default="
    ) as caught:
        added_columns(bare, stored(OLD))
    assert "\n" not in str(caught.value)
    timeless = {name: kind for name, kind in stored(OLD).items() if name != "day"}
    with pytest.raises(LakeError, match="without the days"):
        added_columns(OLD, timeless)
    assert added_columns(OLD, stored(OLD)) == added_columns(OLD, None) == []
    assert added_columns(NEW, stored(OLD)) == list(ADDED)


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (ColumnType.COUNT, 1.0),
        (ColumnType.COUNT, True),
        (ColumnType.REAL, 1),
        (ColumnType.FLAG, 0),
        (ColumnType.TEXT, 0),
        (ColumnType.PRICES, 0),
    ],
)
def test_a_default_is_a_value_of_the_column_in_memory(kind: ColumnType, default: float | bool) -> None:
    with pytest.raises(SchemaError, match="column x: default"):
        Column("x", kind, "", default=default)


def test_rows_that_nothing_replaces_hold_the_default_for_good() -> None:
    day = date(2024, 8, 8)
    assert "for good" in what_to_do_with_rows(replace(OLD, kind="raw"), day, day, MIDNIGHT + DAY)
    assert "for good" in what_to_do_with_rows(replace(OLD, kind="as-of"), day, day, MIDNIGHT + DAY)
    assert "backfill" in what_to_do_with_rows(OLD, day, day, MIDNIGHT + DAY)
    assert "backfill" not in what_to_do_with_rows(OLD, None, None, None)


@pytest.mark.parametrize(
    ("complete", "to"),
    [
        (None, None),
        (MIDNIGHT, None),
        (MIDNIGHT + DAY - 1, None),
        (MIDNIGHT + DAY, "2024-08-08"),  # midnight sharp closes the day
        (MIDNIGHT + 2 * DAY - 1, "2024-08-08"),
        (MIDNIGHT + 2 * DAY, "2024-08-09"),
        (MIDNIGHT + 9 * DAY, "2024-08-09"),
    ],
)
def test_the_command_names_days_that_are_over(complete: int | None, to: str | None) -> None:
    said = what_to_do_with_rows(OLD, date(2024, 8, 8), date(2024, 8, 9), complete)
    assert said.startswith("days 2024-08-08 to 2024-08-09 hold the default")
    command = f"signals backfill --from 2024-08-08 --to {to} --assets sums/sums"
    assert ("signals backfill" in said, "none is over yet" in said) == (to is not None, to is None)
    assert command in said or to is None
    assert ("not over yet, and its day run" in said) == (to == "2024-08-08")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("complete", "words"),
    [
        (MIDNIGHT + 5, "none is over yet, and their day runs compute them again"),
        (MIDNIGHT + DAY, "signals backfill --from 2024-08-08 --to 2024-08-08 --assets sums/sums"),
    ],
)
def test_a_day_is_over_when_raw_data_says_so(lakes: list[DuckLake], complete: int, words: str) -> None:
    old, new, _ = lakes
    old.ensure([OLD])
    write(old, OLD, old_rows(2, 0))
    raw_data_reaches(old, crypto=complete)
    with old.transaction(asset="sums/sums", run_id="a") as unit:
        unit.advance("sums/sums", "crypto", None, Progress(MIDNIGHT, MIDNIGHT + 3))
    with capture_logs() as said:
        new.ensure([NEW])
    [line] = [line for line in said if line["event"].startswith("columns added")]
    assert line["rows_before"].endswith(words)


def test_raw_tables_are_those_whose_progress_is_asked_for() -> None:
    assert {table.stage for table in RAW_TABLES} == {RAW_STAGE}
