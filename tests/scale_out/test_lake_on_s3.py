"""The lake's files in an S3-compatible store: Dagster's runs, maintenance and questions, the same rows as anywhere."""

import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance
from moto.server import ThreadedMotoServer

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import LakeError
from resources.lake_maintenance import Keep, maintain
from resources.read_only_query import QueryError, ReadOnlyLake
from resources.settings import load_settings
from signal_assets.definitions import build_defs
from tests.fakes import FakeStreams, FixedSettings, KeptKeys, ListOfFailures, OpenStreams
from tests.lanes.market_run import assert_equal
from tests.scale_out.generated_days import DAYS, expected, fill, rows_of, write_settings

pytestmark = pytest.mark.slow

BUCKET = "market"
KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "not so secret", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Opened:
    """Hands Dagster the lake of the test."""

    lake: DuckLake

    def open(self) -> DuckLake:
        return self.lake


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store on the loopback with one empty bucket, and the variables that name it."""
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)  # a line per request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": url}).items():
        monkeypatch.setenv(name, value)
    call(f"{url}/{BUCKET}", "PUT")
    yield url
    server.stop()


def call(url: str, method: str = "GET") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:  # noqa: S310
        return str(answer.read().decode())


def objects(endpoint: str) -> list[str]:
    """Keys of everything in the bucket."""
    listed = call(f"{endpoint}/{BUCKET}?list-type=2&max-keys=1000")
    assert "<IsTruncated>false</IsTruncated>" in listed
    return [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]


def test_the_days_on_s3(endpoint: str, addresses: Addresses, tmp_path: Path) -> None:
    file = write_settings(tmp_path)
    settings = load_settings(file)
    on_s3 = replace(addresses, lake_path=f"s3://{BUCKET}/lake")
    lake = DuckLake(on_s3)
    try:
        fill(lake, settings)
        definitions: Any = build_defs(
            {
                "lake": Opened(lake),
                "streams": OpenStreams(FakeStreams()),
                "settings": FixedSettings(settings),
                "failures": ListOfFailures(),
                "keys": KeptKeys(),
            }
        )
        with DagsterInstance.ephemeral() as instance:
            for day in DAYS:
                result = definitions.resolve_job_def("backfill").execute_in_process(
                    instance=instance, partition_key=day.isoformat(), raise_on_error=False
                )
                assert result.success, [event.message for event in result.all_events if event.is_failure]
        wanted = expected(file)
        assert_equal(rows_of(lake, settings), wanted)

        before = set(objects(endpoint))
        assert all(key.startswith("lake/") for key in before)
        only_now = Keep(*[timedelta(0)] * 3)
        done = maintain(lake, only_now)
        assert done["tables_flushed"] > 0
        assert done["files_merged"] > 0
        assert done["snapshots_expired"] > 0
        maintain(lake, only_now)  # what the first round put aside goes in the next
        assert before - set(objects(endpoint))
        assert_equal(rows_of(lake, settings), wanted)

        with ReadOnlyLake(on_s3) as questions:
            with questions.ask("SELECT count(*) FROM levels.wave_peaks") as answer:
                assert list(answer.rows()) == [(len(wanted["levels.wave_peaks"]),)]
            everything = f"SELECT * FROM read_parquet('s3://{BUCKET}/lake/**/*.parquet')"
            with pytest.raises(QueryError, match="read_parquet may not be used"), questions.ask(everything):
                pass
    finally:
        lake.close()
    assert not list(Path(addresses.lake_path).rglob("*.parquet"))


def test_a_store_that_is_away_or_shut_is_said_in_one_line(
    endpoint: str, addresses: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_s3 = replace(addresses, lake_path=f"s3://{BUCKET}/lake")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(LakeError, match="set AWS_SECRET_ACCESS_KEY"):
        DuckLake(on_s3).connection()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "store.example:9000")
    with pytest.raises(LakeError, match="AWS_ENDPOINT_URL should look like"):
        DuckLake(on_s3).connection()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    lake = DuckLake(replace(on_s3, lake_path="s3://no-such-bucket/lake"))
    with pytest.raises(LakeError, match="404"):
        fill(lake, load_settings(write_settings(tmp_path)))
    lake.close()
