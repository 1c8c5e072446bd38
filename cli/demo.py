"""``signals demo``: the whole path, once, on embedded defaults.

Belongs here: options and the printed summary. Does not belong here: the demo itself (``services/demo``).
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, HomeOption, OptionError, enter_config, enter_home

DEMO_FILE = "truth.json"
"""What a home has that a demo made, and only such a one is made anew: what was planted in its market."""


def demo(
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    report: Annotated[Path, typer.Option(help="The self-contained page to write.")] = Path("report.html"),
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Simulated venue, live lane, lake and every stage in one go: prints a summary, writes report.html.

    Without --home it keeps its data under the home, in demo, made anew each time.

    Example: signals demo --seed 7 --report report.html
    """
    from cli.progress import steps
    from resources.settings import load_settings

    if not report.absolute().parent.is_dir():
        raise OptionError(f"--report {report}: {report.absolute().parent} is no folder")
    enter_config(config)
    load_settings()  # a wrong configuration is said before anything is started
    folder = enter_home(None) / "demo" if home is None else enter_home(home)

    if folder.exists() and any(folder.iterdir()) and not (folder / DEMO_FILE).exists():
        raise OptionError(f"--home {folder} holds something else than a demo: name a folder that may be made anew")

    with steps("demo") as say:
        say("loading the code; what is compiled is compiled once, on first use")
        from cli.results import console, print_summary
        from services.demo import run_demo

        result = run_demo(folder, seed=seed, report_path=report.absolute(), report=say)
    out = console()
    print_summary(out, result.summary)
    out.print(
        f"{result.market_minutes:,.0f} minutes of market in {result.seconds:.1f} s; page {report}, home {folder}",
        soft_wrap=True,
    )
