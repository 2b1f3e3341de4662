"""The daemon's HTTP: the API on a unix socket of its own, and metrics on a TCP listener.

The API has no authentication of its own: its socket is 0600 in a directory that only its
user may enter, and it is never bound to TCP by the daemon.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from reconciler.api.backend import Backend
from reconciler.api.failures import Failure, failure_of, internal_error, no_such_path
from reconciler.api.objects import Objects
from reconciler.api.own import Own
from reconciler.api.podexec import PodExec
from reconciler.api.podlog import PodLog
from reconciler.api.stored import Stored
from reconciler.api.streams import Streams, json_answer
from reconciler.errors import ConflictError, HostError, ReconcilerError

_MAX_BODY_BYTES = 1 << 20
_SHUTDOWN_SECONDS = 0.5  # aiohttp waits as long twice: to let answers end, and again after it cancelled them
log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(backend: Backend) -> web.Application:
    """The whole API. Its lasting answers end when it shuts down."""
    app = web.Application(middlewares=[_answer_errors], client_max_size=_MAX_BODY_BYTES)
    streams = Streams()
    for part in (PodLog, PodExec, Objects, Own, Stored):
        app.add_routes(part(backend, streams).routes())
    app.add_routes(_health_routes(backend))

    async def end_streams(app: web.Application) -> None:
        streams.close()

    app.on_shutdown.append(end_streams)
    return app


def build_metrics_app(backend: Backend) -> web.Application:
    """What Prometheus and load balancers may see: /metrics, /healthz and /readyz."""
    app = web.Application(middlewares=[_answer_errors], client_max_size=0)
    app.add_routes([web.get("/metrics", _exposition(backend.telemetry.registry)), *_health_routes(backend)])
    return app


def _exposition(registry: CollectorRegistry) -> Handler:
    async def metrics(request: web.Request) -> web.StreamResponse:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics


def _health_routes(backend: Backend) -> list[web.RouteDef]:
    def answering(check: Callable[[], str]) -> Handler:
        async def health(request: web.Request) -> web.StreamResponse:
            fault = check()
            return web.Response(text=f"{fault}\n" if fault else "ok", status=503 if fault else 200)

        return health

    checks: Mapping[str, Callable[[], str]] = {
        "/healthz": backend.health,
        "/livez": backend.health,
        "/readyz": backend.readiness,
    }
    return [web.get(path, answering(check)) for path, check in checks.items()]


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is a Status object, and none says more than its sentence."""
    try:
        return await handler(request)
    except Failure as error:
        failure = error
    except ReconcilerError as error:
        failure = failure_of(error)
    except web.HTTPNotFound:
        failure = no_such_path()
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        failure = Failure(405, "MethodNotAllowed", f"{request.method} is not allowed here, only {allowed}")
    except web.HTTPRequestEntityTooLarge:
        limit = f"limit is {_MAX_BODY_BYTES}"
        failure = Failure(413, "RequestEntityTooLarge", f"Request entity too large: {limit}")
    except (web.HTTPException, ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        failure = internal_error("the daemon's log has more")
    return json_answer(failure.to_json(), failure.code)


class Listener:
    """A server on one address. Make one with `listen_unix` or `listen_tcp`."""

    def __init__(self, runner: web.AppRunner, path: Path | None = None) -> None:
        self._runner = runner
        self._path = path

    @property
    def port(self) -> int:
        """Of a TCP listener: the one that was free if 0 was asked for."""
        return int(self._runner.addresses[0][1])

    async def aclose(self) -> None:
        """Stop: lasting answers end at once, others have a moment. Removes the socket."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        await self._runner.cleanup()


async def listen_unix(app: web.Application, path: Path) -> Listener:
    """Serve on a unix socket that only this user may open; one that is left over is replaced,
    so the caller holds the lock of the instance.

    Raises: HostError when it cannot be made.
    """
    listening_socket = _bind_unix(path)
    runner = await _runner(app)
    await web.SockSite(runner, listening_socket).start()
    return Listener(runner, path)


def _bind_unix(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(listening.fileno(), 0o600)  # before bind, so that it is never open to others
        path.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:  # through the directory, for a path may be longer than an address may be
            listening.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
    except OSError as error:
        listening.close()
        raise HostError(f"{path}: cannot listen: {error.strerror}; is --run-dir writable?") from error
    return listening


async def listen_tcp(app: web.Application, host: str, port: int) -> Listener:
    """Serve on a TCP address; port 0 picks a free one.

    Raises: ConflictError(reason="AddressInUse"); HostError when the address is not one of this machine.
    """
    runner = await _runner(app)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            taken = f"{host}:{port} is already taken; choose another address"
            raise ConflictError(taken, reason="AddressInUse") from error
        raise HostError(f"{host}:{port}: cannot listen: {error.strerror}") from error
    return Listener(runner)


async def _runner(app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    return runner
