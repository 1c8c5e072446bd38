"""The configuration: read, overridden, refused in one line, reloaded; and where the platform answers."""

import json
import os
from pathlib import Path

import pytest

from resources.addresses import Addresses, AddressesError, home
from resources.settings import SettingsError, SettingsFile, load_settings, settings_path

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "config" / "signals.yaml"

INSTRUMENT = """
instruments:
  - symbol: BTCFDUSD
    venue: BINANCE
    pair: BTC/FDUSD
    tick_size: "0.01"
    lot_size: "0.00001"
"""


@pytest.fixture(autouse=True)
def _no_signal_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SIGNAL_"):
            monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    path = folder / "signals.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_file_lists_the_five_instruments_with_the_exchange_filters() -> None:
    instruments = load_settings(SHIPPED).instruments_by_key
    # Binance's PRICE_FILTER.tickSize and LOT_SIZE.stepSize, in units of 1e-8
    assert {key: (i.tick_size, i.lot_size, i.bucket_size) for key, i in instruments.items()} == {
        "BTCFDUSD.BINANCE": (1_000_000, 1_000, 100_000_000),
        "ETHFDUSD.BINANCE": (1_000_000, 10_000, 2_000_000),
        "ETHBTC.BINANCE": (1_000, 10_000, 1_000),
        "SOLFDUSD.BINANCE": (1_000_000, 100_000, 1_000_000),
        "BNBFDUSD.BINANCE": (1_000_000, 100_000, 1_000_000),
    }
    sanity = instruments["BTCFDUSD.BINANCE"].sanity
    assert sanity is not None
    assert (sanity.price_low, sanity.price_high, sanity.quantity_high) == (10**11, 10**14, 10**12)


def test_the_shipped_file_says_the_documented_defaults(tmp_path: Path) -> None:
    shipped, minimal = load_settings(SHIPPED), load_settings(written(tmp_path, INSTRUMENT))
    assert shipped.model_dump(exclude={"instruments"}) == minimal.model_dump(exclude={"instruments"})
    assert (shipped.grid_milliseconds, shipped.lateness_milliseconds, shipped.quiet_after_milliseconds) == (
        1_000,
        500,
        2_000,
    )
    assert shipped.levels.profile_look_back_hours == 48
    assert shipped.live.high_watermark == 8_000
    assert shipped.up.port == 3_000


def test_groups_keep_the_order_of_the_file_and_default_to_the_asset_class(tmp_path: Path) -> None:
    text = INSTRUMENT + INSTRUMENT.replace("\ninstruments:", "").replace("BTCFDUSD", "EURUSD").replace(
        "BTC/FDUSD", "EUR/USD\n    asset_class: forex"
    )
    groups = load_settings(written(tmp_path, text)).groups
    assert {name: [i.key for i in members] for name, members in groups.items()} == {
        "crypto": ["BTCFDUSD.BINANCE"],
        "forex": ["EURUSD.BINANCE"],
    }
    assert [i.symbol for i in load_settings(SHIPPED).groups["crypto"]] == [
        "BTCFDUSD",
        "ETHFDUSD",
        "ETHBTC",
        "SOLFDUSD",
        "BNBFDUSD",
    ]


def test_an_instrument_overrides_single_level_settings(tmp_path: Path) -> None:
    text = INSTRUMENT + "    levels: {min_absolute_volume: 0.5}\nlevels: {z_score_threshold: 2.0}\n"
    levels = load_settings(written(tmp_path, text)).levels_of("BTCFDUSD.BINANCE")
    assert (levels.min_absolute_volume, levels.z_score_threshold, levels.min_relative_volume) == (0.5, 2.0, 2.0)


def test_levels_of_an_unknown_instrument_says_which_there_are() -> None:
    with pytest.raises(SettingsError, match=r"unknown instrument XRP\.BINANCE: configured are BTCFDUSD\.BINANCE, "):
        load_settings(SHIPPED).levels_of("XRP.BINANCE")


@pytest.mark.parametrize(
    ("price", "tick", "bucket"),
    [("61000", "0.01", 50_000_000), ("2600", "0.01", 2_000_000), ("0.04", "0.00001", 1_000)],
)
def test_automatic_bucket_size_is_the_nearest_step_but_never_below_the_tick(
    tmp_path: Path, price: str, tick: str, bucket: int
) -> None:
    text = INSTRUMENT.replace('"0.01"', f'"{tick}"') + f'    bucket_size: auto\n    reference_price: "{price}"\n'
    (instrument,) = load_settings(written(tmp_path, text)).instruments_by_key.values()
    assert instrument.bucket_size == bucket


def test_environment_variables_win_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNAL_LIVE__FLUSH_MILLISECONDS", "50")
    monkeypatch.setenv("SIGNAL_VENUE__REST_URL", "http://127.0.0.1:4001")
    monkeypatch.setenv("SIGNAL_SENSOR_INTERVAL_SECONDS", "2")
    settings = load_settings(SHIPPED)
    assert (settings.live.flush_milliseconds, settings.live.batch) == (50, 100)
    assert settings.venue.rest_url == "http://127.0.0.1:4001"
    assert settings.venue.stream_url == "wss://stream.binance.com:9443"
    assert settings.sensor_interval_seconds == 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SIGNAL_LIVE__BATCH", "many", r"environment variable SIGNAL_LIVE__BATCH: live\.batch: .*valid integer"),
        ("SIGNAL_LIVE__FLUSH", "1", r"environment variable SIGNAL_LIVE__FLUSH: live\.flush: there is no such field"),
        ("SIGNAL_LIFE__BATCH", "1", r"environment variable SIGNAL_LIFE__BATCH: there is no field life"),
        ("SIGNAL_INSTRUMENTS", "[", r"environment: .*instruments"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message) as raised:
        load_settings(SHIPPED)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INSTRUMENT + "grid: 5\n", r"signals\.yaml: grid: there is no such field"),
        (INSTRUMENT + "live: {batches: 5}\n", r"signals\.yaml: live\.batches: there is no such field"),
        (INSTRUMENT + "    colour: red\n", r"signals\.yaml: instruments\[0\]\.colour: there is no such field"),
        (INSTRUMENT.replace('    lot_size: "0.00001"\n', ""), r"instruments\[0\]\.lot_size: is missing"),
        (INSTRUMENT.replace('"0.01"', "0.01"), r"instruments\[0\]\.tick_size: write it in quotes \(\"0\.01\"\)"),
        (INSTRUMENT.replace('"0.01"', '"0"'), r"instruments\[0\]\.tick_size: .*greater than 0"),
        (INSTRUMENT.replace('"0.01"', '"cheap"'), r"instruments\[0\]\.tick_size: not a plain decimal number"),
        (INSTRUMENT.replace('"0.01"', "true"), r"instruments\[0\]\.tick_size: should be a decimal number in quotes"),
        (INSTRUMENT.replace("symbol: BTC", "symbol: btc"), r"instruments\[0\]\.symbol: .*pattern"),
        (INSTRUMENT + '    bucket_size: "0.015"\n', r"instruments\[0\]: bucket_size must be a multiple of tick_size"),
        (INSTRUMENT + '    bucket_size: "x"\n', r"instruments\[0\]\.bucket_size: "),
        (INSTRUMENT + "    bucket_size: auto\n", r"instruments\[0\]: bucket_size: auto needs a reference_price"),
        (INSTRUMENT + INSTRUMENT.replace("\ninstruments:", ""), r"instruments: BTCFDUSD\.BINANCE is listed twice"),
        (
            INSTRUMENT + INSTRUMENT.replace("\ninstruments:", "").replace("BINANCE", "KRAKEN"),
            r"instruments: only one BTCFDUSD can be primary",
        ),
        ("instruments: []\n", r"instruments: .*at least 1 item"),
        (INSTRUMENT + "grid_milliseconds: 7000\n", r"grid_milliseconds must divide a day"),
        (INSTRUMENT + "live: {low_watermark: 9000}\n", r"live: low_watermark must be below high_watermark"),
        (INSTRUMENT + "up: {port: 99999}\n", r"up\.port: .*65535"),
        (
            INSTRUMENT + "anomalies: {excess: {wik: {times: 2}}}\n",
            r"signals\.yaml: anomalies\.excess\.wik: 'wik' is no market feature: there are return, .*, wick, ",
        ),
        (
            INSTRUMENT + "anomalies: {silent: [volume, spred]}\n",
            r"signals\.yaml: anomalies\.silent\[1\]: 'spred' is no market feature: there are return, volume, spread, ",
        ),
        (INSTRUMENT + "venue: {rest_url: ftp://x}\n", r"venue\.rest_url: .*pattern"),
        (INSTRUMENT + "up: {port: 1}\nup: {port: 2}\n", r"signals\.yaml: line \d+: the key up stands twice"),
        (INSTRUMENT + "up: {port: 1\n", r"signals\.yaml: line \d+: "),
        ("", r"signals\.yaml: should be a mapping"),
        ("- 1\n", r"signals\.yaml: should be a mapping"),
        (INSTRUMENT + "lateness_milliseconds: -1\nlive: {batch: 0}\n", r"lateness_milliseconds: .* \(and 1 more\)$"),
    ],
)
def test_an_invalid_file_is_refused_in_one_line_with_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=message) as raised:
        load_settings(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_an_unreadable_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml: cannot be read: no such file"):
        load_settings(tmp_path / "absent.yaml")
    with pytest.raises(SettingsError, match=r"cannot be read: is a directory"):
        load_settings(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"binary\.yaml: is not UTF-8 text"):
        load_settings(binary)
    binary.write_bytes(b"a: \x07\n")
    with pytest.raises(SettingsError, match=r"binary\.yaml: is not YAML"):
        load_settings(binary)


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_path() == SHIPPED
    (tmp_path / "config").mkdir()
    written(tmp_path / "config", INSTRUMENT)
    assert settings_path() == Path("config/signals.yaml")
    monkeypatch.setenv("SIGNAL_CONFIG", str(tmp_path / "other.yaml"))
    assert settings_path() == tmp_path / "other.yaml"
    assert settings_path("given.yaml") == Path("given.yaml")


def test_reload_takes_the_new_file_and_keeps_the_old_when_the_new_is_invalid(tmp_path: Path) -> None:
    path = written(tmp_path, INSTRUMENT)
    settings_file = SettingsFile(path)
    assert settings_file.reload() is False
    written(tmp_path, INSTRUMENT + "sensor_interval_seconds: 7\n")
    assert settings_file.reload() is True
    assert settings_file.current.sensor_interval_seconds == 7

    written(tmp_path, INSTRUMENT + "sensor_interval_seconds: never\n")
    assert settings_file.reload() is False
    assert settings_file.current.sensor_interval_seconds == 7
    assert settings_file.error is not None
    assert "sensor_interval_seconds" in settings_file.error

    path.unlink()
    assert settings_file.reload() is False
    assert "cannot be read" in str(settings_file.error)
    written(tmp_path, INSTRUMENT + "sensor_interval_seconds: 9\n")
    assert settings_file.reload() is True
    assert (settings_file.current.sensor_interval_seconds, settings_file.error) == (9, None)


def test_a_changed_comment_is_no_change(tmp_path: Path) -> None:
    settings_file = SettingsFile(written(tmp_path, INSTRUMENT))
    written(tmp_path, INSTRUMENT + "# nothing new\n")
    assert settings_file.reload() is False
    assert settings_file.error is None


def test_home_is_absolute_and_follows_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / ".signal"
    monkeypatch.setenv("SIGNAL_HOME", "elsewhere")
    assert home() == tmp_path / "elsewhere"


def addresses(folder: Path) -> Addresses:
    return Addresses("postgresql:///lake", "unix:///redis.sock", "redis+socket:///redis.sock", "/lake", folder)


def test_addresses_written_by_the_platform_are_found_and_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home"
    path = addresses(folder).write()
    assert path.stat().st_mode & 0o077 == 0
    assert Addresses.resolve(folder) == addresses(folder)

    for name, value in addresses(folder).environment().items():
        monkeypatch.setenv(name, value)
    path.unlink()
    assert Addresses.resolve() == addresses(folder)


def test_the_environment_wins_over_the_platform_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses(tmp_path).write()
    monkeypatch.setenv("SIGNAL_LAKE_PATH", "s3://bucket/lake")
    resolved = Addresses.resolve(tmp_path)
    assert (resolved.lake_path, resolved.redis_url) == ("s3://bucket/lake", "unix:///redis.sock")


def test_missing_addresses_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AddressesError) as raised:
        Addresses.resolve(tmp_path)
    assert str(raised.value) == f"no platform is running in {tmp_path}: start one with `signals up`"
    monkeypatch.setenv("SIGNAL_LAKE_PATH", "s3://bucket/lake")
    with pytest.raises(AddressesError, match=r"set SIGNAL_POSTGRES_URL, SIGNAL_REDIS_URL, SIGNAL_BROKER_URL\)$"):
        Addresses.resolve(tmp_path)


@pytest.mark.parametrize(("content", "message"), [("{", "cannot be read"), (json.dumps([1]), "should hold an object")])
def test_a_damaged_addresses_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "addresses.json").write_text(content)
    with pytest.raises(AddressesError, match=message):
        Addresses.resolve(tmp_path)
