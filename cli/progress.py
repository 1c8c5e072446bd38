"""What a person sees while something takes longer than two seconds: on standard error, so that output stays clean.

Belongs here: lines, spinners and bars. Does not belong here: results.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """A spinner with the latest step on a terminal, a line per step elsewhere; each with the seconds passed."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    with console.status(escape(title)) as status:

        def report(line: str) -> None:
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {escape(line)}", soft_wrap=True)
            status.update(escape(line))

        yield report


@contextmanager
def share(title: str) -> Iterator[Callable[[float], None]]:
    """A bar for work that knows its done share, 0…1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=1.0)

        def done(part: float) -> None:
            progress.update(task, completed=part)

        yield done
