"""The ``signals`` command: its subcommands, and how it says that something is wrong.

Belongs here: the application. Does not belong here: what a command does (its own file), anything slow to import.
"""

import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from cli import backfill, config, demo, doctor, env, label, live, replay, simulate, sql, up, worker

OUR_PACKAGES: Final = frozenset({"cli", "resources", "services", "signal_assets", "jobs", "sensors"})
INTERRUPTED: Final = 130


class OneLineGroup(TyperGroup):
    """Says what is wrong in one line on standard error, without a traceback.

    A typed error of our own packages is a refusal: its text was written for the reader. Anything else is a defect and
    keeps its traceback.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the words before the subcommand."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except typer.TyperException as error:
            raise _refusal(error, getattr(error, "exit_code", 2)) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            if isinstance(error, typer.Exit | typer.Abort):
                raise
            raise _refusal(error, getattr(error, "exit_code", 2)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in OUR_PACKAGES:
                raise
            raise _refusal(error, 1) from None


def _refusal(error: Exception, status: int) -> BaseException:
    if isinstance(error, typer.Exit | typer.Abort):
        return error
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    command = getattr(getattr(error, "ctx", None), "command_path", None)
    hint = f" (see {command} --help)" if command else ""
    typer.echo(f"Error: {' '.join(text.split()).rstrip('.')}{hint}", err=True)
    return typer.Exit(status)


app = typer.Typer(
    name="signals",
    cls=OneLineGroup,
    help="From an exchange's order book to trustworthy trading signals.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: signals demo",
)
app.command()(demo.demo)
app.command()(up.up)
app.command()(live.live)
app.command()(env.env)
app.command()(replay.replay)
app.command()(simulate.simulate)
app.command()(sql.sql)
app.command()(backfill.backfill)
app.command()(worker.worker)
app.command()(label.label)
app.command()(doctor.doctor)
app.add_typer(config.app, name="config")


def main() -> None:
    """Entry point of the ``signals`` command."""
    try:
        app()
    except BrokenPipeError:  # the reader of our output, `head` for one, has gone
        sys.stderr.close()
        sys.exit(1)
