"""What is done with images that are there, and what the instance takes of the machine.

All under /apis/reconciler.io/v1alpha1, as own.py has it:

    DELETE images?reference=R&force=B   {lines: [...]}
    POST   images/tag      {image, reference}
    POST   images/save     {images, archive, form?}, line by line; form is docker (else) or oci
    POST   images/prune    {all?, buildCache?, dryRun?} -> {images: [{id, references}], freedBytes, buildCacheBytes}
    GET    images/history?image=I       [{id, createdAt, createdBy, sizeBytes, comment}], newest first
    GET    inspect?name=N&type=T        [docker's JSON]; type is image, container, or both in docker's order
    GET    system/df       [{type, total, active, sizeBytes, reclaimableBytes}]
    GET    system/info     {...}
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from reconciler.api.backend import Backend
from reconciler.api.client import ORDER_TYPE, OWN
from reconciler.api.containers import container_rows
from reconciler.api.dockerjson import containers_called, docker_container, docker_image, history
from reconciler.api.failures import Failure, bad_request
from reconciler.api.own import Order, progress_lines
from reconciler.api.streams import Streams, json_answer
from reconciler.control.garbage import named_images
from reconciler.errors import TerminalError
from reconciler.model.observed import State
from reconciler.plan.garbage import total_bytes, unused

_FORMS = ("docker", "oci")
_TYPES = ("", "container", "image")


class Stored:
    """The handlers."""

    def __init__(self, backend: Backend, streams: Streams) -> None:
        self._backend = backend
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        return [
            web.delete(f"{OWN}/images", self._remove),
            web.post(f"{OWN}/images/tag", self._tag),
            web.post(f"{OWN}/images/save", self._save),
            web.post(f"{OWN}/images/prune", self._prune),
            web.get(f"{OWN}/images/history", self._history),
            web.get(f"{OWN}/inspect", self._inspect),
            web.get(f"{OWN}/system/df", self._disk_usage),
            web.get(f"{OWN}/system/info", self._info),
        ]

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        reference = _asked(request, "reference")
        force = request.query.get("force", "") == "true"
        return json_answer({"lines": list(await self._backend.images.remove(reference, force=force))})

    async def _tag(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        await self._backend.images.tag(order.text("image"), order.text("reference"))
        return json_answer({})

    async def _save(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        images, form = order.texts("images"), order.text("form", _FORMS[0])
        if not images:
            raise bad_request("images: say which")
        if form not in _FORMS:
            raise bad_request(f"form: expected one of {', '.join(_FORMS)}")
        lines = self._backend.images.save(images, order.path("archive"), form=form)
        return await self._streams.send(request, ORDER_TYPE, progress_lines(lines))

    async def _prune(self, request: web.Request) -> web.StreamResponse:
        order = await Order.read(request)
        every, cache, dry = order.flag("all"), order.flag("buildCache"), order.flag("dryRun")
        images = self._backend.images
        listed = {image.id: image for image in await images.list()}
        garbage = unused(
            await images.stored(), in_use=await images.in_use(), named=named_images(self._backend.store), every=every
        )
        cache_bytes = await images.build_cache_bytes() if cache else 0
        gone = garbage.remove
        if not dry:
            gone = tuple(await images.delete(garbage.remove))
            if cache:
                await images.clear_build_cache()
        removed = [{"id": id, "references": list(listed[id].references)} for id in gone if id in listed]
        return json_answer({"images": removed, "freedBytes": garbage.freed_bytes, "buildCacheBytes": cache_bytes})

    async def _history(self, request: web.Request) -> web.StreamResponse:
        return json_answer(history(await self._backend.images.inspect(_asked(request, "image"))))

    async def _inspect(self, request: web.Request) -> web.StreamResponse:
        name, kind = _asked(request, "name"), request.query.get("type", "")
        if kind not in _TYPES:
            raise bad_request("type: expected container or image")
        if kind != "image":
            observed = await self._backend.runtime.observe()
            pods = {record.ref: record.object for record in self._backend.store.list("Pod")}
            if rows := containers_called(container_rows(observed, pods), name):
                return json_answer([docker_container(row) for row in rows])
        if kind != "container":
            try:
                return json_answer([docker_image(await self._backend.images.inspect(name))])
            except TerminalError:
                if kind == "image":
                    raise
        what = kind or "container or image"
        raise Failure(404, "NotFound", f"there is no {what} {name!r}")

    async def _disk_usage(self, request: web.Request) -> web.StreamResponse:
        images, store = self._backend.images, self._backend.store
        stored, in_use = await images.stored(), await images.in_use()
        free = unused(stored, in_use=in_use, named=named_images(store), every=True)
        observed = await self._backend.runtime.observe()
        containers = [container for pod in observed.pods.values() for container in pod.containers]
        sizes = await self._backend.containers.disk_bytes()
        running = {container.id for container in containers if container.state in (State.RUNNING, State.PAUSED)}
        cache_bytes = await images.build_cache_bytes()
        return json_answer(
            [
                _usage("Images", len(stored), len(in_use), total_bytes(stored), free.freed_bytes),
                _usage(
                    "Containers",
                    len(containers),
                    len(running),
                    sum(sizes.values()),
                    sum(size for id, size in sizes.items() if id not in running),
                ),
                _usage("Build Cache", int(cache_bytes > 0), 0, cache_bytes, cache_bytes),
            ]
        )

    async def _info(self, request: web.Request) -> web.StreamResponse:
        observed = await self._backend.runtime.observe()
        states = [container.state for pod in observed.pods.values() for container in pod.containers]
        counts = {str(state): states.count(state) for state in State}
        return json_answer(
            {
                "version": self._backend.version,
                "containers": {"total": len(states), **counts},
                "pods": len(observed.pods),
                "images": len(await self._backend.images.list()),
                **self._backend.info(),
            }
        )


def _usage(kind: str, total: int, active: int, size_bytes: int, reclaimable_bytes: int) -> dict[str, Any]:
    return {
        "type": kind,
        "total": total,
        "active": active,
        "sizeBytes": size_bytes,
        "reclaimableBytes": reclaimable_bytes,
    }


def _asked(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if not value:
        raise bad_request(f"say which: ?{name}=")
    return value
