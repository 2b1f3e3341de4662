"""From what a user writes after `logs` and `exec` to one container of one pod.

NAME is a pod, `kind/name`, `pod/container` as `ps` prints it, a container's name, or the
beginning of its id. A pod is looked for first, so that a plain name never changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from reconciler.api.client import OWN, Client
from reconciler.cli.kinds import BY_KIND, find_kind
from reconciler.errors import ReconcilerError, TerminalError

Json = Mapping[str, Any]
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_SHORTEST_ID = 4


class Target(NamedTuple):
    """`container` is the name in the pod. `superseded` when an id named an attempt before the last."""

    namespace: str
    pod: str
    container: str
    superseded: bool = False


def find_target(client: Client, name: str, namespace: str, container: str) -> Target:
    """Raises: ReconcilerError(reason="NotFound") in kubectl's words; click.UsageError when `name` fits several."""
    parts = name.split("/")
    kind = find_kind(parts[0]) if len(parts) == 2 else None
    if kind is not None and kind.kind != "Pod":
        return _of_pod(_newest_pod(client, kind.kind, parts[1], namespace), container)
    if kind is not None:
        return _of_pod(client.get(kind.path(namespace, parts[1])), container)
    if len(parts) > 1:
        *scope, pod, named = parts
        return _of_pod(client.get(BY_KIND["Pod"].path(scope[0] if scope else namespace, pod)), container or named)
    try:
        pod = client.get(BY_KIND["Pod"].path(namespace, name))
    except ReconcilerError as error:
        if error.reason != "NotFound":
            raise
        target = pick_container(client.get(f"{OWN}/containers"), name, namespace)
        if target is None:
            raise
        return target
    return _of_pod(pod, container)


def pick_container(rows: Sequence[Json], name: str, namespace: str) -> Target | None:
    """The container that is called `name`, in `namespace`, or whose id begins with it, anywhere.

    `rows` as the API lists containers. Raises: click.UsageError when several pods have it.
    """
    fits = [row for row in rows if row["name"] == name and row["namespace"] == namespace]
    if not fits and len(name) >= _SHORTEST_ID:
        fits = [row for row in rows if row["id"].startswith(name)]
    if not fits:
        return None
    places = sorted({(row["namespace"], row["pod"], row["name"]) for row in fits})
    if len(places) > 1:
        listed = ", ".join("/".join(place if place[0] != namespace else place[1:]) for place in places[:5])
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        raise click.UsageError(f"{name!r} fits several containers; say which: {listed}{more}")
    space, pod, container = places[0]
    attempts = [row["attempt"] for row in rows if (row["namespace"], row["pod"], row["name"]) == places[0]]
    newest = max(row["attempt"] for row in fits)
    return Target(space, pod, container, superseded=newest < max(attempts))


def _newest_pod(client: Client, kind: str, name: str, namespace: str) -> Json:
    """A pod of a workload: a ready one before others, the youngest of those."""
    owner = client.get(BY_KIND[kind].path(namespace, name))
    owners = {owner["metadata"]["uid"]}
    if kind == "Deployment":
        sets = client.get(BY_KIND["ReplicaSet"].path(namespace))["items"]
        owners = {item["metadata"]["uid"] for item in sets if _owned(item, owners)}
    elif kind != "ReplicaSet":
        raise click.UsageError(f"a {kind} has no containers; name a pod, a deployment or a replicaset")
    pods = [pod for pod in client.get(BY_KIND["Pod"].path(namespace))["items"] if _owned(pod, owners)]
    if not pods:
        raise TerminalError(f"{BY_KIND[kind].qualified}/{name} has no pods", reason="NotFound")
    pods.sort(key=lambda pod: (_is_ready(pod), pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))
    if len(pods) > 1:
        click.echo(f"Found {len(pods)} pods, using pod/{pods[-1]['metadata']['name']}", err=True)
    chosen: Json = pods[-1]
    return chosen


def _owned(item: Json, owners: set[str]) -> bool:
    return any(owner["uid"] in owners for owner in item["metadata"].get("ownerReferences") or ())


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _of_pod(pod: Json, container: str) -> Target:
    """The container asked for, else the pod's default one, else its first."""
    meta = pod["metadata"]
    names = [c["name"] for c in pod["spec"]["containers"]]
    every = names + [c["name"] for c in pod["spec"].get("initContainers") or ()]
    if container and container not in every:
        raise TerminalError(
            f"container {container} is not valid for pod {meta['name']}; it has {', '.join(every)}", reason="NotFound"
        )
    default = (meta.get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    chosen = container or (default if default in every else names[0])
    if not container and not default and len(names) > 1:
        click.echo(f'Defaulted container "{chosen}" out of: {", ".join(every)}', err=True)
    return Target(meta.get("namespace", "default"), meta["name"], chosen)
