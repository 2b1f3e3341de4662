"""GET of objects under Kubernetes' paths: one, a list, a watch; as JSON or as a Table."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from aiohttp import web

from reconciler.api.backend import Backend
from reconciler.api.failures import Failure
from reconciler.api.queries import ListQuery, parse_list, table_include, wants_table
from reconciler.api.resources import (
    RESOURCES,
    Resource,
    api_group,
    api_groups,
    api_resources,
    api_versions,
    server_version,
)
from reconciler.api.streams import Streams, json_answer, json_line
from reconciler.api.tables import TABLE_TYPE, render_table
from reconciler.api.watching import find, list_page, watch
from reconciler.model.ref import Ref

READ_ONLY = "objects are read-only here: change the manifests in the watched folder, and the daemon carries it out"
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Objects:
    """The handlers. Stateless but for the backend."""

    def __init__(self, backend: Backend, streams: Streams) -> None:
        self._backend = backend
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        """Discovery, and the paths of every kind."""
        documents = {
            "/api": api_versions(),
            "/apis": api_groups(),
            "/api/v1": api_resources(""),
            "/apis/apps": api_group("apps"),
            "/apis/apps/v1": api_resources("apps"),
            "/version": server_version(self._backend.version),
        }
        routes: list[web.RouteDef] = [
            web.get(path, partial(_document, document)) for path, document in documents.items()
        ]
        for resource in RESOURCES:
            everywhere = f"{resource.root}/{resource.plural}"
            collections = [everywhere]
            if resource.namespaced:
                collections.append(f"{resource.root}/namespaces/{{namespace}}/{resource.plural}")
            for path in collections:
                routes += _routes(path, partial(self._collection, resource))
            routes += _routes(f"{collections[-1]}/{{name}}", partial(self._one, resource))
        return routes

    async def _one(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        as_table = wants_table(request.headers.get("Accept", ""))
        namespace, name = request.match_info.get("namespace", ""), request.match_info["name"]
        item = find(self._backend.store, resource, Ref(resource.kind, namespace, name))
        if not as_table:
            return json_answer(item)
        table = render_table(
            resource.kind,
            [item],
            now=self._backend.clock.now(),
            list_metadata={"resourceVersion": item["metadata"]["resourceVersion"]},
            include=table_include(request.query),
        )
        return json_answer(table)

    async def _collection(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        as_table = wants_table(request.headers.get("Accept", ""))
        query = parse_list(resource, request.query, namespace=request.match_info.get("namespace", ""))
        include = table_include(request.query)
        if query.watch:
            content_type = TABLE_TYPE if as_table else "application/json"
            lines = self._watch_lines(resource, query, include if as_table else None)
            return await self._streams.send(request, content_type, lines)
        page = list_page(self._backend.store, resource, query)
        if as_table:
            now = self._backend.clock.now()
            return json_answer(
                render_table(resource.kind, page.items, now=now, list_metadata=page.metadata, include=include)
            )
        for item in page.items:  # the list says it for all of them
            item.pop("kind", None)
            item.pop("apiVersion", None)
        return json_answer(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.group_version,
                "metadata": page.metadata,
                "items": page.items,
            }
        )

    async def _watch_lines(
        self, resource: Resource, query: ListQuery, include: str | None
    ) -> AsyncGenerator[bytes, None]:
        """One JSON line for each event; with `include` its object is in a Table."""
        head = True
        async with aclosing(watch(self._backend.store, resource, query)) as events:
            async for event in events:
                shown = event.object
                if include is not None and event.type != "ERROR":
                    shown = render_table(
                        resource.kind,
                        [] if event.type == "BOOKMARK" else [event.object],
                        now=self._backend.clock.now(),
                        list_metadata={"resourceVersion": event.object["metadata"]["resourceVersion"]},
                        include=include,
                        head=head,
                    )
                    head = False
                yield json_line({"type": event.type, "object": shown})


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _routes(path: str, read: Handler) -> list[web.RouteDef]:
    return [web.get(path, read), *(web.route(method, path, _refuse_write) for method in _WRITES)]


async def _refuse_write(request: web.Request) -> web.StreamResponse:
    raise Failure(405, "MethodNotAllowed", READ_ONLY)


async def _document(document: dict[str, Any], request: web.Request) -> web.StreamResponse:
    return json_answer(document)
