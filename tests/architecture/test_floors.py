"""What import-linter's layers cannot say: every module of a stage is pure unless it is named here."""

import grimp
import pytest

STAGES = (
    "market",
    "aggregates",
    "levels",
    "anomalies",
    "strategies",
    "strategies.arbitrage",
    "strategies.trend_following",
    "signals",
    "execution",
    "performance",
    "learning",
)
OUTSIDE = {
    "dagster",
    "redis",
    "duckdb",
    "aiohttp",
    "psycopg2",
    "celery",
    "resources",
    "jobs",
    "sensors",
    "services",
    "cli",
}
CLOCKS = {"time", "random", "socket", "requests", "httpx", "asyncio"}

MEETS_THE_OUTSIDE = {
    "assets",
    "checks",
    "derivations",
    "folds",
    "day_pictures",
    "stream_intake",
    "emission_intake",
    "learned",
    "rollback",
    "labels",
    "system_assets",
    "evaluation",
}
"""Modules of a stage that load, write or report; a new one is named here on purpose."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    packages = ("signal_assets", "resources", "jobs", "sensors", "services", "cli")
    return grimp.build_graph(*packages, include_external_packages=True)


def pure_modules(graph: grimp.ImportGraph) -> list[str]:
    found = [module for stage in STAGES for module in graph.find_children(f"signal_assets.{stage}")]
    return sorted(module for module in found if module.rpartition(".")[2] not in MEETS_THE_OUTSIDE)


def test_pure_modules_see_nothing_outside(graph: grimp.ImportGraph) -> None:
    modules = pure_modules(graph)
    assert len(modules) > 80  # the stages were found
    seen = {
        module: sorted({name.partition(".")[0] for name in graph.find_upstream_modules(module)} & OUTSIDE)
        for module in modules
    }
    assert {module: outside for module, outside in seen.items() if outside} == {}


def test_pure_modules_have_no_clock_and_no_chance(graph: grimp.ImportGraph) -> None:
    seen = {
        module: sorted(
            {name.partition(".")[0] for name in graph.find_modules_directly_imported_by(module)} & CLOCKS,
        )
        for module in pure_modules(graph)
    }
    assert {module: clocks for module, clocks in seen.items() if clocks} == {}


def test_the_named_exceptions_exist(graph: grimp.ImportGraph) -> None:
    names = {module.rpartition(".")[2] for stage in STAGES for module in graph.find_children(f"signal_assets.{stage}")}
    assert names >= MEETS_THE_OUTSIDE
