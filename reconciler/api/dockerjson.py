"""Images and containers as `docker inspect` and `docker history` show them. Pure.

Scripts read this: names, spelling and types are docker's, and what we have no such thing for is left out.
Source: moby api/swagger.yaml, ImageInspect and ContainerInspectResponse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.api.containers import precise_time
from reconciler.model.reference import familiar
from reconciler.ports import ImageDetail

Json = dict[str, Any]
_NEVER = "0001-01-01T00:00:00Z"


def docker_image(detail: ImageDetail) -> Json:
    """`docker image inspect` of one image."""
    image, config = detail.image, detail.config
    tags = [familiar(name) for name in image.references if "@" not in name]
    repositories = dict.fromkeys(_repository(familiar(name)) for name in image.references)
    return {
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": [f"{repository}@{image.digest}" for repository in repositories],
        "Parent": "",
        "Comment": _last_comment(config),
        "Created": config.get("created") or precise_time(image.created_at),
        "Author": config.get("author") or "",
        "Config": config.get("config") or {},
        "Architecture": config.get("architecture") or "",
        **({"Variant": config["variant"]} if config.get("variant") else {}),
        "Os": config.get("os") or "",
        "Size": sum(detail.layer_bytes),
        "RootFS": {"Type": "layers", "Layers": (config.get("rootfs") or {}).get("diff_ids") or []},
    }


def history(detail: ImageDetail) -> list[Json]:
    """The steps that made an image, newest first: {id, createdAt, createdBy, sizeBytes, comment}. Only the
    newest has an id, as the others are images no more."""
    sizes = iter(detail.layer_bytes)
    steps = [
        {
            "id": "<missing>",
            "createdAt": step.get("created") or "",
            "createdBy": step.get("created_by") or "",
            "sizeBytes": 0 if step.get("empty_layer") else next(sizes, 0),
            "comment": step.get("comment") or "",
        }
        for step in detail.config.get("history") or ()
    ]
    # layers that the history says nothing about
    steps += [{"id": "<missing>", "createdAt": "", "createdBy": "", "sizeBytes": size, "comment": ""} for size in sizes]
    steps.reverse()
    if steps:
        steps[0]["id"] = detail.image.id
    return steps


def docker_container(row: Mapping[str, Any]) -> Json:
    """`docker container inspect` of one row of `container_rows`."""
    running = row["state"] in ("running", "paused")
    return {
        "Id": row["id"],
        "Name": f"/{row['namespace']}/{row['pod']}/{row['name']}",
        "Created": row["createdAt"],
        "Image": row["imageId"],
        "RestartCount": row["attempt"],
        "State": {
            "Status": row["state"],
            "Running": running,
            "Paused": row["state"] == "paused",
            "OOMKilled": bool(row.get("oomKilled")),
            "Dead": row["state"] == "broken",
            "Pid": row.get("pid") or 0,
            "ExitCode": row.get("exitCode") or 0,
            "Error": row.get("fault") or "",
            "StartedAt": row.get("startedAt") or _NEVER,
            "FinishedAt": row.get("finishedAt") or _NEVER,
        },
        "Config": {"Image": familiar(row["image"])},
        "NetworkSettings": {"IPAddress": next(iter(row["addresses"]), ""), "Ports": _ports(row["ports"])},
    }


def containers_called(rows: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """The rows that `name` means: the beginning of an id, `pod/container` with or without its namespace, or a
    pod. By name the newest attempt counts."""
    by_id = [row for row in rows if row["id"].startswith(name)]
    if by_id:
        return by_id
    newest: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in rows:
        pod = (row["pod"], f"{row['namespace']}/{row['pod']}")
        if name in (*pod, *(f"{prefix}/{row['name']}" for prefix in pod)):
            key = (row["namespace"], row["pod"], row["name"])
            if key not in newest or newest[key]["attempt"] < row["attempt"]:
                newest[key] = row
    return list(newest.values())


def _ports(ports: Sequence[Mapping[str, Any]]) -> Json:
    found: dict[str, list[Json]] = {}
    for port in ports:
        key = f"{port['containerPort']}/{port['protocol'].lower()}"
        held = {"HostIp": port.get("hostIP") or "0.0.0.0", "HostPort": str(port["hostPort"])}  # noqa: S104  as shown
        found.setdefault(key, []).append(held)
    return found


def _repository(name: str) -> str:
    name = name.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def _last_comment(config: Mapping[str, Any]) -> str:
    comments: Iterator[str] = (step.get("comment") or "" for step in reversed(config.get("history") or ()))
    return next(comments, "")
