"""Detectors of other packages: the one of the page on adding one, as pip would install it, and those to be refused."""

import math
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from resources.anomaly_settings import AnomalySettings
from resources.settings import Settings
from services.live_lane.live_folds import live_folds
from signal_assets.anomalies.folds import anomaly_fold
from signal_assets.anomalies.plug_ins import GROUP, PlugInError, detector_plug_ins
from signal_assets.anomalies.tables import ANOMALIES, SCORES
from signal_assets.event_time import SECOND
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from tests.anomalies.features_rows import BTC, features_row
from tests.docs.page import DOCS

PAGE = (DOCS / "adding-a-detector.md").read_text("utf-8")
CLASS, FACTORY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PROJECT: dict[str, Any] = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])["project"]


def install(
    folder: Path, modules: dict[str, str], points: dict[str, str], name: str = "other", version: str = "2.0"
) -> None:
    """What pip leaves of a package: its modules, and its metadata in a dist-info folder."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, "utf-8")
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    lines = [f"{point} = {value}" for point, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]), "utf-8")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages; what was imported from it is forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def install_jump(folder: Path) -> None:
    install(
        folder,
        {"jump_detector": f"{CLASS}\n\n{FACTORY}"},
        PROJECT["entry-points"][GROUP],
        PROJECT["name"],
        PROJECT["version"],
    )


def configured(**changes: Any) -> Settings:
    return Settings(
        instruments=[
            {"symbol": BTC.symbol, "venue": BTC.venue, "pair": BTC.pair, "tick_size": "0.01", "lot_size": "0.00001"}
        ],
        anomalies=AnomalySettings(**{"metrics_interval_seconds": 1, "minimum_points": 2, "window": 10} | changes),
    )


def rows_of(fold: Any, cut: int | None = None) -> list[Any]:
    """What a fold makes of forty steps of one trade more each time; its state goes through text at the cut."""
    machine, made = fold.machine([BTC]), []
    for second in range(1, 41):
        if second == cut:
            text = encode_state(machine.state())
            machine = fold.machine([BTC])
            machine.restore(decode_state(text))
        row = features_row(second, trades=2 * second if second < 40 else 500)
        made.append(machine.step(second * SECOND, {FEATURES.name: [row]}))
    assert machine.failures == {}
    return made


def test_an_installed_detector_has_its_rows_in_both_lanes(packages: Path) -> None:
    before = anomaly_fold(configured())
    install_jump(packages)
    settings = configured(raising=("jump",), alerting=("jump",), silent=())
    fold = anomaly_fold(settings)
    rows = rows_of(fold)
    scores = [
        row[4] for made in rows for row in made[SCORES.name] if row[1].endswith("trade_rate") and row[3] == "jump"
    ]
    assert len(scores) == 40
    # From the third value on each step is as large as the mean of those before it, √(2/π) of a deviation.
    assert all(map(math.isnan, scores[:2]))
    assert scores[2:39] == pytest.approx([math.sqrt(2 / math.pi)] * 37)
    [anomaly] = [row for made in rows for row in made[ANOMALIES.name] if row[2].endswith("trade_rate")]
    assert (anomaly[3], anomaly[5], anomaly[8], anomaly[11]) == (40 * SECOND, "jump", "CRITICAL", "above")
    assert anomaly[15]
    live = next(fold for fold in live_folds(settings) if fold.name == "anomalies")
    assert repr(rows_of(live, cut=17)) == repr(rows)
    assert live.version == fold.version
    assert "jump of jump-detector 1.0" in fold.version
    assert "jump" not in before.version


def test_a_process_of_its_own_finds_it(tmp_path: Path) -> None:
    install_jump(tmp_path)
    look = "from signal_assets.anomalies.plug_ins import detector_plug_ins as d; print([p.version for p in d()[0]])"
    root = str(Path(__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(tmp_path), root]!r}; {look}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "['jump of jump-detector 1.0']"


def test_which_are_asked_is_configured(packages: Path) -> None:
    install_jump(packages)
    twin = CLASS.replace('name = "jump"', 'name = "twin"') + "\nmake = lambda parameters: Jump()\n"
    install(packages, {"twin_detector": twin}, {"twin": "twin_detector:make"})
    for wanted, names in (
        (None, ["jump", "twin"]),
        (("twin", "jump"), ["twin", "jump"]),
        (("twin",), ["twin"]),
        ((), []),
    ):
        plug_ins, refused = detector_plug_ins(wanted)
        assert ([plug_in.name for plug_in in plug_ins], refused) == (names, [])
        versions = anomaly_fold(configured(plug_ins=wanted)).version
        assert [name for name in ("jump of", "twin of") if name in versions] == sorted(f"{name} of" for name in names)


MINIMAL = """
class Minimal:
    name, threshold, said = "mine", 1.0, (0.0, 0.0, 0.0, 0)
    def update(self, time, value): return self.said
    def score(self, times, values): return None
    def state(self): return {}
    def restore(self, state): pass
make = lambda parameters: Minimal()
"""


@pytest.mark.parametrize(
    ("module", "point", "reason"),
    [
        ("import nowhere_to_be_found", "made:Minimal", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("x = 1", "made:Minimal", "AttributeError: module 'made' has no attribute 'Minimal'"),
        ("make = 3", "made:make", "TypeError: 'int' object is not callable"),
        ("def make(p): raise RuntimeError('no\\nluck')", "made:make", "RuntimeError: no luck"),
        ("make = lambda p: 3", "made:make", "int has no method update"),
        (MINIMAL + "Minimal.name = 'his'", "made:make", "calls itself 'his', not 'mine' as its entry point does"),
        (MINIMAL + "Minimal.said = 0, 0, 0, 2", "made:make", "vote must be -1, 0 or 1, not 2"),
        (MINIMAL + "Minimal.said = 0, 0", "made:make", "ValueError: not enough values to unpack"),
        (MINIMAL + "Minimal.state = lambda self: {'a': {1}}", "made:make", "TypeError: a state cannot hold a set"),
        (MINIMAL + "del Minimal.score", "made:make", "Minimal has no method score"),
    ],
)  # fmt: skip
def test_what_is_no_detector_is_refused_in_one_line(packages: Path, module: str, point: str, reason: str) -> None:
    install_jump(packages)
    install(packages, {"made": module}, {"mine": point})
    plug_ins, refused = detector_plug_ins()
    assert [plug_in.name for plug_in in plug_ins] == ["jump"]
    (line,) = refused
    assert line.startswith(f"detector plug-in 'mine' of other 2.0 ({point}): ")
    assert reason in line
    assert "\n" not in line
    with pytest.raises(PlugInError, match=re.escape(line)):
        anomaly_fold(configured(plug_ins=("mine",)))
    with capture_logs() as logged:
        assert "jump of" in anomaly_fold(configured()).version
    assert [entry["reason"] for entry in logged if entry["log_level"] == "warning"] == [line]


def test_names_are_nobody_elses(packages: Path) -> None:
    install(packages, {}, {"mad": "nothing:there", "novelty": "nothing:there"}, name="greedy")
    install_jump(packages)
    install(packages, {}, {"jump": "another:make"}, name="jump-again")
    plug_ins, refused = detector_plug_ins()
    assert plug_ins == []
    assert [line.partition(": ")[2] for line in refused] == [
        "two packages bring a detector of that name",
        *["the name is that of one of our own detectors"] * 2,
    ]
    assert "jump-again 2.0 and jump-detector 1.0" in refused[0]


def test_one_that_is_wanted_must_be_there() -> None:
    with pytest.raises(PlugInError, match="detector plug-in 'absent' is not installed: no package has it"):
        detector_plug_ins(("absent",))
