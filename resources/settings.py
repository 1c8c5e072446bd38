"""Configuration: what ``config/signals.yaml`` and the environment say, checked.

Belongs here: reading, overriding and validating settings. Does not belong here: where a running platform answers
(``addresses``), anything that opens a connection, and parameters that nobody may change.
"""

import os
import re
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from resources.anomaly_settings import AnomalySettings
from resources.execution_settings import ExecutionSettings
from resources.hand_over_settings import HandOverSettings
from resources.learning_settings import LearningSettings
from resources.performance_settings import PerformanceSettings
from resources.retention_settings import RetentionSettings
from resources.signal_settings import SignalSettings
from resources.strategy_settings import StrategySettings
from resources.strict_model import StrictModel
from signal_assets.fixed_point import FixedPointError, format_fixed, parse_fixed
from signal_assets.instrument import AssetClass, Instrument, SanityRange, automatic_bucket_size

ENVIRONMENT_PREFIX: Final = "SIGNAL_"
DAY_MILLISECONDS: Final = 86_400_000


class SettingsError(ValueError):
    """The configuration cannot be read or is invalid; one line that names the file and the field."""


def _money(value: object) -> int:
    if isinstance(value, float):
        raise ValueError(f'write it in quotes ("{value}"), so that it does not pass through a float')  # noqa: TRY004
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('should be a decimal number in quotes, e.g. "0.01"')  # noqa: TRY004 – pydantic wants ValueError
    try:
        return parse_fixed(str(value))
    except FixedPointError as error:
        raise ValueError(str(error)) from None


def _money_text(value: int | str) -> str:
    return format_fixed(value).rstrip("0").rstrip(".") if isinstance(value, int) else value


Money = Annotated[
    int,
    BeforeValidator(_money),
    Field(gt=0),
    PlainSerializer(_money_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d{1,8})?$", "description": "decimal number in quotes"}),
]
"""A positive decimal text in the file, an integer in units of 1e-8 inside."""

Fraction = Annotated[
    int,
    BeforeValidator(_money),
    Field(ge=0, lt=100_000_000),
    PlainSerializer(_money_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^0(\.\d{1,8})?$", "description": "fraction below 1 in quotes"}),
]
"""A fraction below 1 as decimal text in the file, an integer in units of 1e-8 inside."""

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
StreamUrl = Annotated[str, Field(pattern=r"^wss?://[^\s/]+")]
Port = Annotated[int, Field(ge=0, le=65_535)]


class SanitySettings(StrictModel):
    """Values outside raise a data-quality event and flag the row, which is kept."""

    price_low: Money
    price_high: Money
    quantity_high: Money


class LevelOverrides(StrictModel):
    """What one instrument changes in :class:`LevelSettings`; volumes in its base units."""

    profile_look_back_hours: int | None = Field(default=None, ge=1, le=24 * 31)
    min_peak_volume: float | None = Field(default=None, ge=0)
    z_score_threshold: float | None = Field(default=None, ge=0)
    min_peak_confidence: float | None = Field(default=None, ge=0, le=1)
    min_relative_volume: float | None = Field(default=None, ge=0)
    min_absolute_volume: float | None = Field(default=None, ge=0)
    false_discovery_rate: float | None = Field(default=None, ge=0, le=1)
    min_scale_space_confidence: float | None = Field(default=None, ge=0, le=1)
    zone_tolerance_buckets: int | None = Field(default=None, ge=0)


class LevelSettings(StrictModel):
    """Wave peaks and zones; volumes in base units."""

    profile_look_back_hours: int = Field(default=48, ge=1, le=24 * 31)
    min_peak_volume: float = Field(default=5.0, ge=0)
    z_score_threshold: float = Field(default=1.5, ge=0)
    min_peak_confidence: float = Field(default=0.3, ge=0, le=1)
    min_relative_volume: float = Field(default=2.0, ge=0)
    min_absolute_volume: float = Field(default=10.0, ge=0)
    false_discovery_rate: float = Field(default=0.05, ge=0, le=1)
    min_scale_space_confidence: float = Field(default=0.7, ge=0, le=1)
    zone_tolerance_buckets: int = Field(default=5, ge=0)


class InstrumentSettings(StrictModel):
    """One instrument as written in the file; :meth:`instrument` turns it into what the stages work with."""

    symbol: str = Field(pattern=r"^[A-Z]+[A-Z0-9_-]*$")
    venue: str = Field(pattern=r"^[A-Z][A-Z0-9]*$")
    pair: str = Field(pattern=r"^[A-Z0-9]+/[A-Z0-9]+$")
    asset_class: AssetClass = "crypto"
    group: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$", description="default: the asset class")
    tick_size: Money
    lot_size: Money
    bucket_size: Literal["auto"] | Money = Field(
        default=100_000_000,
        description="width of a price bucket; auto: the 1-2-5 step nearest to reference_price x 1e-5",
    )
    reference_price: Money | None = Field(default=None, description="needed by `bucket_size: auto` only")
    trade_stream: Literal["trade", "aggTrade"] = "trade"
    maker_fee: Fraction = Field(default=100_000, description="fraction of the notional, for resting orders")
    taker_fee: Fraction = Field(default=100_000, description="fraction of the notional, for orders that take")
    primary: bool = True
    sanity: SanitySettings | None = None
    levels: LevelOverrides = LevelOverrides()

    @model_validator(mode="after")
    def _perpetuals_have_aggregated_trades(self) -> Self:
        if self.venue == "BINANCE" and self.symbol.endswith("-PERP") and self.trade_stream != "aggTrade":
            raise ValueError(f"{self.symbol}: perpetuals have aggregated trades only, say trade_stream: aggTrade")
        return self

    @model_validator(mode="after")
    def _the_machine_has_a_group_of_its_own(self) -> Self:
        if self.group == "system":
            raise ValueError(f"{self.symbol}: the group system is that of the machine's own series")
        return self

    @model_validator(mode="after")
    def _buckets_fit_the_tick(self) -> Self:
        if self.bucket_size == "auto" and self.reference_price is None:
            raise ValueError("bucket_size: auto needs a reference_price")
        if self.bucket_size != "auto" and self.bucket_size % self.tick_size:
            raise ValueError("bucket_size must be a multiple of tick_size")
        return self

    def instrument(self) -> Instrument:
        """The instrument this entry describes; money in units of 1e-8."""
        if self.bucket_size == "auto":
            step = automatic_bucket_size(self.reference_price or 0)
            bucket_size = max(step - step % self.tick_size, self.tick_size)
        else:
            bucket_size = self.bucket_size
        return Instrument(
            symbol=self.symbol,
            venue=self.venue,
            pair=self.pair,
            tick_size=self.tick_size,
            lot_size=self.lot_size,
            bucket_size=bucket_size,
            asset_class=self.asset_class,
            group=self.group or self.asset_class,
            trade_stream=self.trade_stream,
            maker_fee=self.maker_fee,
            taker_fee=self.taker_fee,
            primary=self.primary,
            sanity=SanityRange(**self.sanity.model_dump()) if self.sanity else None,
        )


class VenueSettings(StrictModel):
    """Where the exchange answers."""

    rest_url: HttpUrl = "https://api.binance.com"
    stream_url: StreamUrl = "wss://stream.binance.com:9443"
    futures_rest_url: HttpUrl = Field(
        default="https://fapi.binance.com", description="of perpetuals, whose symbols end in -PERP; so is the next one"
    )
    futures_stream_url: StreamUrl = "wss://fstream.binance.com"
    virtual_clock: bool = Field(
        default=False, description="the venue replays: its clock, not ours, says what time it is"
    )


class LiveSettings(StrictModel):
    """The live lane's batches, limits and ports (0: any free port)."""

    flush_milliseconds: int = Field(default=100, ge=1, le=60_000)
    batch: int = Field(default=100, ge=1)
    high_watermark: int = Field(
        default=8_000, ge=1, description="messages waiting at which reading from the venue pauses"
    )
    low_watermark: int = Field(default=2_000, ge=0, description="messages waiting at which it goes on")
    spill_limit_megabytes: int = Field(default=1_024, ge=1)
    metrics_port: Port = 9_090
    health_port: Port = 8_080

    @model_validator(mode="after")
    def _watermarks_in_order(self) -> Self:
        if self.low_watermark >= self.high_watermark:
            raise ValueError("low_watermark must be below high_watermark")
        return self


class UpSettings(StrictModel):
    """``signals up``."""

    port: Port = Field(default=3_000, description="the Dagster UI on 127.0.0.1")


class Settings(BaseSettings):
    """Everything that may be configured. Read it with :func:`load_settings`; instances are immutable."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    instruments: tuple[InstrumentSettings, ...] = Field(min_length=1)
    grid_milliseconds: int = Field(default=1_000, ge=100, le=60_000)
    lateness_milliseconds: int = Field(default=500, ge=0, le=60_000)
    quiet_after_milliseconds: int = Field(default=2_000, ge=0, le=600_000)
    snapshot_interval_seconds: int = Field(default=60, ge=1, le=3_600)
    reconcile_interval_seconds: int = Field(default=300, ge=1, le=86_400)
    dead_feed_seconds: int = Field(default=10, ge=1, le=3_600)
    sensor_interval_seconds: int = Field(default=5, ge=1, le=3_600)
    strategic_interval_seconds: int = Field(default=300, ge=5, le=300)
    venue: VenueSettings = VenueSettings()
    levels: LevelSettings = LevelSettings()
    anomalies: AnomalySettings = AnomalySettings()
    strategies: StrategySettings = StrategySettings()
    signals: SignalSettings = SignalSettings()
    execution: ExecutionSettings = ExecutionSettings()
    performance: PerformanceSettings = PerformanceSettings()
    learning: LearningSettings = LearningSettings()
    live: LiveSettings = LiveSettings()
    hand_over: HandOverSettings = HandOverSettings()
    retention: RetentionSettings = RetentionSettings()
    up: UpSettings = UpSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what the file says (handed in as arguments); no .env files."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [f"{entry.symbol}.{entry.venue}" for entry in self.instruments]
        if repeated := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"instruments: {repeated[0]} is listed twice")
        primary = [entry.symbol for entry in self.instruments if entry.primary]
        if repeated := sorted({symbol for symbol in primary if primary.count(symbol) > 1}):
            raise ValueError(f"instruments: only one {repeated[0]} can be primary")
        if DAY_MILLISECONDS % self.grid_milliseconds or self.snapshot_interval_seconds * 1_000 % self.grid_milliseconds:
            raise ValueError("grid_milliseconds must divide a day and snapshot_interval_seconds")
        if self.anomalies.metrics_interval_seconds * 1_000 % self.grid_milliseconds:
            raise ValueError("anomalies.metrics_interval_seconds must be a multiple of grid_milliseconds")
        hours = max(self.levels_of(key).profile_look_back_hours for key in keys)
        if self.retention.raw_days is not None and self.retention.raw_days < (least := ceil(hours / 24) + 2):
            raise ValueError(f"retention.raw_days must be at least {least}: the levels look {hours} hours back")
        return self

    @cached_property
    def instruments_by_key(self) -> dict[str, Instrument]:
        """``{"BTCFDUSD.BINANCE": Instrument(…), …}`` in the order of the file."""
        instruments = [entry.instrument() for entry in self.instruments]
        return {instrument.key: instrument for instrument in instruments}

    @cached_property
    def groups(self) -> dict[str, tuple[Instrument, ...]]:
        """Instruments by group, both in the order of the file."""
        groups: dict[str, tuple[Instrument, ...]] = {}
        for instrument in self.instruments_by_key.values():
            groups[instrument.group] = (*groups.get(instrument.group, ()), instrument)
        return groups

    def levels_of(self, instrument_key: str) -> LevelSettings:
        """The level settings of one instrument: the general ones with its own overrides."""
        for entry in self.instruments:
            if f"{entry.symbol}.{entry.venue}" == instrument_key:
                return self.levels.model_copy(update=entry.levels.model_dump(exclude_none=True))
        raise SettingsError(f"unknown instrument {instrument_key}: configured are {', '.join(self.instruments_by_key)}")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not a silent loss of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def settings_path(path: Path | str | None = None) -> Path:
    """What :func:`load_settings` reads: argument, ``SIGNAL_CONFIG``, ``config/signals.yaml``, packaged copy."""
    if path is not None:
        return Path(path)
    if configured := os.environ.get("SIGNAL_CONFIG"):
        return Path(configured)
    here = Path(__file__).resolve().parent
    candidates = (Path("config/signals.yaml"), here / "signals.yaml", here.parent / "config" / "signals.yaml")
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])


def load_settings(path: Path | str | None = None) -> Settings:
    """Read and check the configuration; environment variables win over the file.

    Raises
    ------
    SettingsError
        One line: the file (or variable), the field, what is wrong.
    """
    source = settings_path(path)
    values = _read(source)
    _refuse_unknown_variables()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_one_line(source, error)) from None
    except SourceError as error:
        raise SettingsError(f"environment: {' '.join(str(error.__cause__ or error).split())} ({error})") from None


def _read(source: Path) -> dict[str, Any]:
    try:
        content = yaml.load(source.read_text("utf-8"), _UniqueKeyLoader)  # noqa: S506 – a SafeLoader
    except OSError as error:
        raise SettingsError(f"{source}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{source}: is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise SettingsError(f"{source}:{mark} {error.problem or 'is not YAML'}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"{source}: should be a mapping of fields, like `instruments:`")
    return content


def _refuse_unknown_variables() -> None:
    """A misspelt override must not be ignored; variables without ``__`` may mean something to others."""
    for name in os.environ:
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            field = name.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
            if field not in Settings.model_fields:
                raise SettingsError(f"environment variable {name}: there is no field {field}")


def _one_line(source: Path, error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_input=False)
    first = errors[0]
    # A union's member tags ("literal['auto']", "function-before[…]") are ours, not the reader's.
    location = [part for part in first["loc"] if isinstance(part, int) or re.fullmatch(r"\w+", part)]
    field = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, location)))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
    elif first["type"] == "missing":
        message = "is missing"
    variable = ENVIRONMENT_PREFIX + "__".join(str(part).upper() for part in location)
    origin = f"environment variable {variable}" if variable in os.environ else str(source)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{origin}: {field}: {message}{more}" if field else f"{origin}: {message}{more}"


class SettingsFile:
    """The settings of a running service: reload when the file changed, keep the old ones when the new are invalid.

    Examples
    --------
    >>> settings_file = SettingsFile()
    >>> settings_file.reload()      # nothing has changed
    False
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = settings_path(path)
        self._stamp = self._stamp_of_file()
        self.current = load_settings(self.path)
        self.error: str | None = None
        """Why the file as it stands now was refused; None when :attr:`current` is what it says."""

    def _stamp_of_file(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def reload(self) -> bool:
        """Read the file again if it changed since; True when :attr:`current` is new. Never raises on its content."""
        stamp = self._stamp_of_file()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            settings = load_settings(self.path)
        except SettingsError as error:
            self.error = str(error)
            return False
        self.error = None
        changed = settings != self.current
        self.current = settings
        return changed
