"""What Kubernetes has no path for: containers, images, problems, and the few orders the daemon takes.

All under /apis/reconciler.io/v1alpha1. Orders that take a while answer line by line (NDJSON):
{"line": "..."} and {"progress": {"doneBytes", "totalBytes"}} as it goes, and in the end {"done": true}
or {"error": Status}.

    GET    status              {version, revision, inSync, ready, pruneBlocked, resourceVersion, problems}
    GET    problems            [{file, line, field, message, severity}]
    GET    containers          [{id, sandboxId, namespace, pod, name, image, imageId, state, ...}], see containers.py
    GET    images              [{id, references, digest, createdAt, sizeBytes, platform}]
    POST   images/load         {archive, reference?}
    POST   images/import       {archive, reference}
    POST   images/pull         {reference, platform?, verifyTls?, auths?}, auths as in docker's config.json
    POST   images/push         {reference, verifyTls?, auths?}
    POST   images/build        {context, reference, also?, dockerfile?, target?, buildArgs?, secrets?, noCache?}
    POST   diff                {paths} -> {changes: [...], plan}
    POST   down                {paths, volumes}
    POST   sync                {} -> {revision}
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from reconciler.api.backend import Backend
from reconciler.api.client import ORDER_TYPE, OWN
from reconciler.api.containers import container_rows, precise_time
from reconciler.api.failures import Failure, bad_request, failure_of, internal_error
from reconciler.api.streams import Streams, json_answer, json_line
from reconciler.errors import ReconcilerError
from reconciler.model.login import Login, logins_in
from reconciler.ports import Progress

log = logging.getLogger(__name__)


class Own:
    """The handlers."""

    def __init__(self, backend: Backend, streams: Streams) -> None:
        self._backend = backend
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{OWN}/status", self._status),
            web.get(f"{OWN}/problems", self._problems),
            web.get(f"{OWN}/containers", self._containers),
            web.get(f"{OWN}/images", self._images),
            web.post(f"{OWN}/images/load", self._load),
            web.post(f"{OWN}/images/import", self._import),
            web.post(f"{OWN}/images/pull", self._pull),
            web.post(f"{OWN}/images/push", self._push),
            web.post(f"{OWN}/images/build", self._build),
            web.post(f"{OWN}/diff", self._diff),
            web.post(f"{OWN}/down", self._down),
            web.post(f"{OWN}/sync", self._sync),
        ]

    async def _status(self, request: web.Request) -> web.StreamResponse:
        store = self._backend.store
        return json_answer(
            {
                "version": self._backend.version,
                "revision": store.revision,
                "inSync": self._backend.in_sync(),
                "pruneBlocked": store.prune_blocked,
                "resourceVersion": str(store.resource_version),
                "ready": self._backend.readiness() == "",
                "problems": Counter(str(problem.severity) for problem in store.problems),
            }
        )

    async def _problems(self, request: web.Request) -> web.StreamResponse:
        return json_answer([{"file": p.file, **p.to_json()} for p in self._backend.store.problems])

    async def _containers(self, request: web.Request) -> web.StreamResponse:
        observed = await self._backend.runtime.observe()
        pods = {record.ref: record.object for record in self._backend.store.list("Pod")}
        return json_answer(container_rows(observed, pods))

    async def _images(self, request: web.Request) -> web.StreamResponse:
        images = await self._backend.images.list()
        return json_answer(
            [
                {
                    "id": image.id,
                    "references": list(image.references),
                    "digest": image.digest,
                    "createdAt": precise_time(image.created_at),
                    "sizeBytes": image.size_bytes,
                    "platform": image.platform,
                }
                for image in images
            ]
        )

    async def _load(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        lines = self._backend.images.load(order.path("archive"), reference=order.text("reference", ""))
        return await self._progress(request, lines)

    async def _import(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        return await self._progress(
            request, self._backend.images.import_root(order.path("archive"), order.text("reference"))
        )

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        lines = self._backend.images.pull(
            order.text("reference"),
            platform=order.text("platform", ""),
            verify_tls=order.flag("verifyTls", default=True),
            logins=order.logins("auths"),
        )
        return await self._progress(request, lines)

    async def _push(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        lines = self._backend.images.push(
            order.text("reference"), verify_tls=order.flag("verifyTls", default=True), logins=order.logins("auths")
        )
        return await self._progress(request, lines)

    async def _build(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        lines = self._backend.images.build(
            order.path("context"),
            reference=order.text("reference"),
            also=order.texts("also"),
            dockerfile=order.path("dockerfile", ""),
            target=order.text("target", ""),
            build_args=order.texts_by_name("buildArgs"),
            secrets=order.texts_by_name("secrets"),
            no_cache=order.flag("noCache"),
        )
        return await self._progress(request, lines)

    async def _diff(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        return json_answer(await self._backend.diff(order.paths("paths")))

    async def _down(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        return await self._progress(request, self._backend.down(order.paths("paths"), order.flag("volumes")))

    async def _sync(self, request: web.Request) -> web.StreamResponse:
        await self._backend.sync()
        return json_answer({"revision": self._backend.store.revision})

    async def _progress(self, request: web.Request, lines: AsyncIterator[str | Progress]) -> web.StreamResponse:
        return await self._streams.send(request, ORDER_TYPE, progress_lines(lines))


async def progress_lines(lines: AsyncIterator[str | Progress]) -> AsyncGenerator[bytes, None]:
    """What an order says, as NDJSON, and how it ended."""
    try:
        async for line in lines:
            match line:
                case Progress(done_bytes=done, total_bytes=total):
                    yield json_line({"progress": {"doneBytes": done, "totalBytes": total}})
                case _:
                    yield json_line({"line": line})
    except ReconcilerError as error:
        yield json_line({"error": failure_of(error).to_json()})
    except Exception:
        log.exception("an order failed")
        yield json_line({"error": internal_error("the daemon's log has more").to_json()})
    else:
        yield json_line({"done": True})


@dataclass(frozen=True, slots=True)
class Order:
    """The JSON body of a POST, whose fields are checked as they are taken. Raises: Failure 400."""

    fields: Mapping[str, Any]

    @classmethod
    async def read(cls, request: web.Request) -> Order:
        """Read the body; an empty one has no fields."""
        try:
            fields = json.loads(await request.read() or b"{}")
        except ValueError as error:
            raise bad_request(f"the body is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise bad_request("the body is not a JSON object")
        return cls(fields)

    def text(self, name: str, default: str | None = None) -> str:
        """A string; one without a default must be there and not be empty."""
        value = self.fields.get(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self._fault(name, "a string")
        if "\0" in value:
            raise self._fault(name, "a string without NUL")
        return value

    def path(self, name: str, default: str | None = None) -> str:
        """A path of this machine."""
        return self._absolute(name, self.text(name, default))

    def texts(self, name: str, expected: str = "a list of strings") -> Sequence[str]:
        """A list of strings, none of them empty; none when the field is absent."""
        values = self.fields.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise self._fault(name, expected)
        return values

    def paths(self, name: str) -> Sequence[str]:
        """Paths of this machine; none when the field is absent."""
        return [self._absolute(name, value) for value in self.texts(name, "a list of paths")]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean; `default` when it is absent."""
        value = self.fields.get(name, default)
        if not isinstance(value, bool):
            raise self._fault(name, "true or false")
        return value

    def texts_by_name(self, name: str) -> Mapping[str, str]:
        """An object of strings; empty when it is absent."""
        values = self.fields.get(name, {})
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise self._fault(name, "an object of strings")
        return values

    def logins(self, name: str) -> Sequence[Login] | None:
        """Logins to registries; None when the field is absent. What is wrong with them is said without them."""
        if name not in self.fields:
            return None
        try:
            return logins_in({"auths": self.fields.get(name)})
        except ValueError as error:
            raise bad_request(f"{name}: {error}") from None

    def _absolute(self, name: str, path: str) -> str:
        if path and (not path.startswith("/") or "\0" in path):
            raise self._fault(name, "an absolute path: the daemon's working directory is not yours")
        return path

    def _fault(self, name: str, expected: str) -> Failure:
        return bad_request(f"{name}: expected {expected}")
