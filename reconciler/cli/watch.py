"""`reconciler watch`: the control loop in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import board, journal
from reconciler.cli.ages import read_duration
from reconciler.cli.session import Session, pass_session
from reconciler.errors import TransientError

if TYPE_CHECKING:
    from reconciler.daemon import Daemon

_LOOK_SECONDS = 0.05
_NAMED = 5


def read_network(ctx: click.Context, param: click.Parameter, value: str | None) -> IPv4Network | None:
    """The callback of an option that takes an IPv4 network."""
    try:
        return None if value is None else IPv4Network(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it as 10.88.0.0/16", ctx, param) from None


@click.command(
    epilog="""\b
Every .yaml, .yml and .json file under PATH counts; a file that changes is applied at once.
Containers go on running when this ends: `reconciler down` removes them.
\b
Examples:
  reconciler watch manifests/                          on a terminal: a live table
  reconciler watch manifests/ --once --timeout 2m      converge, wait until ready, exit 0 or 1
  reconciler --log-format json watch /etc/manifests    as a service
"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option("--once", is_flag=True, help="Converge, wait until all is ready, and leave it running.")
@click.option("--timeout", metavar="TIME", default="5m", show_default=True, callback=read_duration, help="With --once.")
@click.option(
    "--resync",
    metavar="TIME",
    default="10s",
    show_default=True,
    callback=read_duration,
    help="Look at everything this often.",
)
@click.option("--pod-cidr", metavar="CIDR", callback=read_network, help="Addresses for pods; else a free range.")
@click.option(
    "--metrics-address", metavar="HOST:PORT", help="Where metrics are served, or `off`.  [default: 127.0.0.1:9850]"
)
@pass_session
@click.pass_context
def command(
    ctx: click.Context,
    session: Session,
    paths: tuple[Path, ...],
    once: bool,
    timeout: float,
    resync: float,
    pod_cidr: IPv4Network | None,
    metrics_address: str | None,
) -> None:
    """Keep this machine equal to the manifests under PATH."""
    if resync <= 0:
        raise click.UsageError("--resync must be longer than nothing")
    from reconciler.daemon import Daemon

    more = {"metrics_address": metrics_address} if metrics_address is not None else {}
    settings = session.settings(paths=paths, resync_seconds=resync, pod_cidr=pod_cidr, **more)
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    journal.start(session.log_format, verbose=session.verbose, shown=live)
    folder = ", ".join(map(str, paths))
    ctx.exit(asyncio.run(_watch(Daemon(settings), folder, live=live, patience_seconds=timeout if once else None)))


async def _watch(daemon: Daemon, folder: str, *, live: bool, patience_seconds: float | None) -> int:
    """Run the daemon until a signal, `down`, or (with a patience) readiness. Returns: the exit code.

    A second signal while it stops ends the process at once.
    """
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    code = 0

    def stop(number: signal.Signals) -> None:
        nonlocal code
        code = 130 if number is signal.SIGINT else 0
        signalled.set()
        loop.remove_signal_handler(number)

    await daemon.start()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        async with _Tasks() as tasks:
            if live:
                tasks.add(_show(daemon, folder))
            until = [tasks.add(daemon.wait()), tasks.add(signalled.wait())]
            if patience_seconds is not None:
                until.append(tasks.add(_until_ready(daemon, patience_seconds)))
            done, _ = await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        await daemon.stop()
    return code


class _Tasks(contextlib.AbstractAsyncContextManager["_Tasks"]):
    """Tasks that end when the block does."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def add(self, work: Any) -> asyncio.Task[Any]:
        self._tasks.append(task := asyncio.create_task(work))
        return task

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _show(daemon: Daemon, folder: str) -> None:
    from rich.console import Console

    from reconciler.cli.live import LiveTable

    await LiveTable(daemon.store, lambda: daemon.loop.in_sync, folder, Console()).run()


async def _until_ready(daemon: Daemon, patience_seconds: float) -> None:
    """Return once all that is declared is applied and ready.

    Raises: TransientError with what is not, when patience ends or when waiting cannot help.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        entries = [board.entry(record.to_json()) for kind in board.KINDS for record in daemon.store.list(kind)]
        faults = [str(problem) for problem in daemon.store.problems if problem.severity == "error"]
        unready = [entry for entry in entries if not entry.well]
        if daemon.loop.settled and not unready:
            if daemon.loop.in_sync:
                return
            if faults:  # the files do not get better by waiting
                raise TransientError(not_ready([], faults), reason="NotReady")
        if time.monotonic() > deadline:
            raise TransientError(not_ready(unready, faults, daemon.store.prune_blocked), reason="NotReady")
        await asyncio.sleep(_LOOK_SECONDS)


def not_ready(unready: Sequence[board.Entry], faults: Sequence[str], held_back: str = "") -> str:
    """What keeps it from being ready, in a sentence or two."""
    parts = []
    if unready:
        named = [f"{e.kind.lower()}/{e.name} {e.state} {e.ready}" for e in unready[:_NAMED]]
        more = f" and {len(unready) - _NAMED} more" if len(unready) > _NAMED else ""
        parts.append(f"not ready: {', '.join(named)}{more}")
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        parts.append(f"not applied: {faults[0]}{more}")
    if held_back:
        parts.append(held_back)
    return "; ".join(parts) or "not converged"
