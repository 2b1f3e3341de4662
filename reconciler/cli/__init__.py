"""The command line: one file per verb, imported only when that verb runs.

`ps` has 200 ms for everything, so this module, `session` and the table of verbs below
import nothing but the standard library and click. The help texts of the verbs stand in
that table, because `--help` and completion must not import twenty verbs to list them.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any, NamedTuple

import click

from reconciler.cli.session import Session, global_options
from reconciler.errors import HostError, ReconcilerError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE
CANNOT = (
    "HostUnfit",
    "DaemonGone",
    "InstanceLocked",
    "AddressInUse",
)  # reasons of errors, also of those that came through the API


class Verb(NamedTuple):
    """`module` holds a click command named `command`."""

    module: str
    help: str


SECTIONS: dict[str, dict[str, Verb]] = {
    "The loop": {
        "watch": Verb("watch", "Keep this machine equal to a folder of manifests."),
        "validate": Verb("validate", "Check manifests; needs no root and no daemon."),
        "diff": Verb("diff", "Show what applying manifests would change."),
        "down": Verb("down", "Remove what runs here."),
        "doctor": Verb("doctor", "Check whether this host is fit, and say how to mend it."),
    },
    "Objects, in kubectl's words": {
        "get": Verb("get", "List objects."),
        "describe": Verb("describe", "Show one object in full, with its events."),
        "events": Verb("events", "List what happened."),
        "logs": Verb("logs", "Print the logs of a container."),
        "exec": Verb("exec", "Run a command in a container."),
    },
    "Containers and images, in docker's words": {
        "ps": Verb("ps", "List containers."),
        "images": Verb("images", "List images."),
        "pull": Verb("pull", "Fetch an image from a registry."),
        "push": Verb("push", "Send an image to a registry."),
        "login": Verb("login", "Log in to a registry."),
        "logout": Verb("logout", "Forget the login to a registry."),
        "build": Verb("build", "Build an image from a Dockerfile."),
        "load": Verb("load", "Take images from an archive."),
        "save": Verb("save", "Write images into an archive."),
        "import": Verb("import_root", "Make an image of a root filesystem tarball."),
        "tag": Verb("tag", "Give an image another name."),
        "rmi": Verb("rmi", "Remove images."),
        "inspect": Verb("inspect", "Show all there is to know of images and containers."),
        "history": Verb("history", "Show the steps that made an image."),
        "prune": Verb("prune", "Remove unused images."),
        "system": Verb("system", "Disk usage, facts, making room."),
    },
    "This program": {
        "completion": Verb("completion", "Print the completion script for your shell."),
        "version": Verb("version", "Show the version, and the daemon's."),
    },
}
VERBS = {name: verb for section in SECTIONS.values() for name, verb in section.items()}


class Verbs(click.Group):
    """Imports a verb when it is asked for, and lets the global options stand after it too."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command: click.Command = importlib.import_module(f"reconciler.cli.{verb.module}").command
        _take_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no such verb: {args[0]}{_nearest(args[0])}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, verb.help) for name, verb in verbs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        items = [CompletionItem(n, help=verb.help) for n, verb in VERBS.items() if n.startswith(incomplete)]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(PIPE_CLOSED)
        return result


def _take_global_options(command: click.Command) -> None:
    """After a verb, and after each verb of a group, they may stand too."""
    taken = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    command.params.extend(option for option in global_options(hidden=True) if taken.isdisjoint(option.opts))
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _take_global_options(inner)


def _nearest(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, VERBS, n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    params=list(global_options()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  reconciler watch manifests/          run what the folder declares, and keep it so
  reconciler get pods -A -w            see it happen
  reconciler logs -f deploy/web        follow the logs of a pod of the deployment
  reconciler exec -it web-0 sh         look around inside
""",
)
@click.pass_context
def group(ctx: click.Context) -> None:
    """Keep one machine equal to a folder of manifests."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def explain(error: BaseException) -> tuple[str, int]:
    """What to tell the user, and the exit code: 1 the answer is no, 2 usage, 3 cannot."""
    match error:
        case click.UsageError():
            where = error.ctx.command_path if error.ctx else "reconciler"
            what = error.format_message().rstrip(".")
            return f"Error: {what}" if "\n" in what else f"Error: {what}\nTry '{where} --help'.", 2
        case click.ClickException():
            return f"Error: {error.format_message()}", error.exit_code
        case HostError():
            return f"Error: {error}", 3
        case ReconcilerError():
            return f"Error: {error}", 3 if error.reason in CANNOT else 1
        case OSError():
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return f"Error: {what}", 3
        case _:
            return f"Error: {type(error).__name__}: {error}; this is a bug: -v shows where", 3


def main() -> None:
    """The program. Never returns; no traceback without -v."""
    session = Session()
    threading.excepthook = lambda failed: _tell(failed.exc_value or failed.exc_type(), session)
    try:
        code = group.main(prog_name="reconciler", standalone_mode=False, obj=session)
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:
        code = _tell(error, session)
    sys.exit(code if isinstance(code, int) else 0)


def _tell(error: BaseException, session: Session) -> int:
    """Print an error, with its traceback if asked for. Returns: the exit code."""
    text, code = explain(error)
    if session.verbose and not isinstance(error, click.ClickException):
        import traceback

        traceback.print_exception(error)
    click.echo(text, err=True)
    return code
