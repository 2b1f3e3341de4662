"""The global options, and the way from them to a daemon.

A verb asks for `session.client()` and does not know whether a daemon runs. When one does,
nothing of the engine is imported.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.errors import HostError

if TYPE_CHECKING:
    from reconciler.api.client import Client
    from reconciler.daemon import Settings

STATE_DIR = Path("/var/lib/reconciler")
RUN_DIR = Path("/run/reconciler")
START_SECONDS = 10.0


class Session:
    """One run of the program: its global options."""

    def __init__(
        self, state_dir: Path = STATE_DIR, run_dir: Path = RUN_DIR, verbose: bool = False, log_format: str = "text"
    ) -> None:
        self.state_dir = state_dir
        self.run_dir = run_dir
        self.verbose = verbose
        self.log_format = log_format

    @property
    def socket(self) -> Path:
        return self.run_dir / "api.sock"

    def settings(self, **more: Any) -> Settings:
        """The daemon's settings: the global options, and `more` that a verb was given."""
        from reconciler.daemon import Settings

        return Settings(state_dir=self.state_dir, run_dir=self.run_dir, **more)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The running daemon, or else an engine in this process, under the same locks.

        Raises: HostError when there is neither and this user may not start an engine.
        """
        if not self._daemon_is_there():
            if os.geteuid() != 0:
                raise HostError(
                    f"no daemon answers at {self.socket}, and looking without one needs root: "
                    "start `reconciler watch PATH`, or use sudo"
                )
            import logging

            from reconciler.cli import journal
            from reconciler.daemon import open_client

            # that import takes a while, in which a daemon may have come up
            if not self._daemon_is_there():
                journal.start(self.log_format, verbose=self.verbose, level=logging.WARNING)
                with open_client(self.settings()) as client:
                    yield client
                return
        from reconciler.api.client import Client

        yield Client(self.socket)

    def _daemon_is_there(self) -> bool:
        """Whether a daemon answers; one that is starting holds its lock already and is waited for."""
        deadline = time.monotonic() + START_SECONDS
        while not daemon_answers(self.socket):
            if not _locked(self.run_dir / "lock") or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def _locked(path: Path) -> bool:
    """Whether another process holds the lock of an instance."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def daemon_answers(path: Path) -> bool:
    """Whether somebody accepts connections on the socket at `path`.

    Raises: HostError when this user may not connect.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except PermissionError as error:
            raise HostError(f"{path}: only root may talk to the daemon: use sudo") from error
        except OSError:
            return False
    return True


pass_session = click.make_pass_decorator(Session, ensure=True)


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Store a global option; one that stands after the verb wins over one before it."""
    if ctx.get_parameter_source(option.name or "") is not click.core.ParameterSource.DEFAULT:
        setattr(ctx.ensure_object(Session), option.name or "", value)


def global_options(*, hidden: bool = False) -> list[click.Option]:
    """New option objects; `hidden` for those that are accepted after a verb too."""

    def option(*names: str, help: str, env: str | None, **more: Any) -> click.Option:
        return click.Option(
            names,
            help=help,
            callback=_keep,
            expose_value=False,
            is_eager=True,
            hidden=hidden,
            envvar=None if hidden else env,
            show_envvar=True,
            show_default=not hidden,
            **more,
        )

    folder = click.Path(file_okay=False, path_type=Path)
    return [
        option(
            "--state-dir", help="What outlives a reboot.", env="RECONCILER_STATE_DIR", type=folder, default=STATE_DIR
        ),
        option("--run-dir", help="Sockets and pid files.", env="RECONCILER_RUN_DIR", type=folder, default=RUN_DIR),
        option(
            "-v",
            "--verbose",
            help="More log lines, and tracebacks.",
            env="RECONCILER_VERBOSE",
            is_flag=True,
        ),
        option(
            "--log-format",
            help="How log lines look.",
            env="RECONCILER_LOG_FORMAT",
            type=click.Choice(["text", "json"]),
            default="text",
        ),
    ]


def colourful(stream: Any = None) -> bool:
    """Whether `stream` (stdout) shows colours: a terminal, and nobody said NO_COLOR."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
