"""GET of a pod's log: which container's, which of its runs, and the lines as kubectl wants them.

Source: LogLocation of the API server and validateContainerLogStatus of the kubelet, whose sentences these are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from reconciler.api.backend import Backend
from reconciler.api.failures import bad_request
from reconciler.api.queries import LogQuery, parse_log
from reconciler.api.resources import POD
from reconciler.api.streams import Streams
from reconciler.api.watching import find
from reconciler.errors import ReconcilerError
from reconciler.model.ref import Ref
from reconciler.ports import LogLine

Json = Mapping[str, Any]


class PodLog:
    """The handler of `/log`."""

    def __init__(self, backend: Backend, streams: Streams) -> None:
        self._backend = backend
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        return [web.get(f"{POD.root}/namespaces/{{namespace}}/pods/{{name}}/log", self._log)]

    async def _log(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        query = parse_log(request.query, pod=name, now=self._backend.clock.now())
        pod = find(self._backend.store, POD, Ref("Pod", namespace, name))
        container = choose_container(pod, query.container)
        container_id = logged_container_id(pod, container, previous=query.previous)
        lines = self._backend.containers.logs(container_id, follow=query.follow, tail=query.tail, since=query.since)
        return await self._streams.send(request, "text/plain", _text(lines, query))


def choose_container(pod: Json, asked: str) -> str:
    """The container of a pod that is meant: the one asked for, or the only one. Raises: Failure."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    main, initial = (_names(spec.get(field) or ()) for field in ("containers", "initContainers"))
    if asked:
        if asked not in (*main, *initial):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1:
        return main[0]
    sentence = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if initial:
        sentence += f" or one of the init containers: [{' '.join(initial)}]"
    raise bad_request(sentence)


def container_status(pod: Json, container: str) -> Json | None:
    """The status of one container of a pod, if it has one yet."""
    status = pod.get("status", {})
    for field in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(field) or ():
            if each["name"] == container:
                found: Json = each
                return found
    return None


def bare_id(container_id: str) -> str:
    """A containerID of a status without the name of its engine."""
    return container_id.rpartition("://")[2]


def logged_container_id(pod: Json, container: str, *, previous: bool) -> str:
    """The run of a container whose log there is to show: the current or latest, or the one before. Raises: Failure."""
    where = f'container "{container}" in pod "{pod["metadata"]["name"]}"'
    status = container_status(pod, container)
    if status is None:
        raise bad_request(f"{where} is not available")
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated")
    last_id = bare_id((last or {}).get("containerID", ""))
    if previous:
        if not last_id:
            raise bad_request(f"previous terminated {where} not found")
        return last_id
    if "running" in state:
        return bare_id(status["containerID"])
    if "terminated" in state or last:
        ended_id = bare_id(state.get("terminated", {}).get("containerID", "")) or last_id
        if not ended_id:
            raise bad_request(f"{where} is terminated")
        return ended_id
    if "waiting" in state:
        match reason := state["waiting"].get("reason", ""):
            case "ErrImagePull":
                why = "image can't be pulled"
            case "ImagePullBackOff":
                why = "trying and failing to pull image"
            case _:
                why = reason
        raise bad_request(f"{where} is waiting to start: {why}")
    raise bad_request(f"{where} is waiting to start - no logs yet")


def _names(containers: Sequence[Json]) -> list[str]:
    return [container["name"] for container in containers]


async def _text(lines: AsyncIterator[LogLine], query: LogQuery) -> AsyncGenerator[bytes, None]:
    """Lines as text: with their times if asked for, cut after `limit_bytes`.

    A log that cannot be read any more says so in its place, as the kubelet does it: the answer has begun.
    """
    left = query.limit_bytes
    begins = True  # a line that came in parts has one time, at its beginning
    try:
        async for line in lines:
            text = line.text + b"\n" if line.complete else line.text
            if query.timestamps and begins:
                text = render_time(line.at).encode() + b" " + text
            begins = line.complete
            if left is not None:
                text = text[:left]
                left -= len(text)
            yield text
            if left == 0:
                return
    except ReconcilerError as error:
        yield f"unable to retrieve container logs: {error}\n".encode()


def render_time(at: float) -> str:
    """RFC 3339 with nine digits, in UTC; a float of today tells microseconds apart and no more."""
    seconds, microseconds = divmod(round(at * 1e6), 10**6)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06}000Z"
