"""Completion of kinds, object names, containers and images: asks a running daemon, and never waits for one.

Nothing may be printed or raised while a shell completes a word: what cannot be known is left out.
"""

from __future__ import annotations

from typing import Any

import click

from reconciler.api.client import OWN, Client
from reconciler.cli.kinds import KINDS, Kind, find_kind
from reconciler.cli.session import Session
from reconciler.errors import ReconcilerError

PATIENCE_SECONDS = 1.0


def _ask(ctx: click.Context, path: str) -> list[Any]:
    """The items that the daemon lists at `path`; none when it cannot be asked."""
    session = ctx.find_root().ensure_object(Session)
    try:
        answer = Client(session.socket, timeout_seconds=PATIENCE_SECONDS).get(path)
    except (ReconcilerError, OSError):
        return []
    return list(answer["items"] if isinstance(answer, dict) else answer)


def _names(ctx: click.Context, kind: Kind) -> list[str]:
    namespace = None if ctx.params.get("all_namespaces") else ctx.params.get("namespace") or "default"
    return [item["metadata"]["name"] for item in _ask(ctx, kind.path(namespace))]


def complete_objects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Of `KIND NAME...` or `KIND/NAME...`."""
    before = ctx.params.get(param.name or "") or ()
    if "/" in incomplete:
        kind = find_kind(word := incomplete.split("/", 1)[0])
        words = [f"{word}/{name}" for name in _names(ctx, kind)] if kind else []
    elif before and "/" not in before[0]:
        kind = find_kind(before[0])
        words = [name for name in _names(ctx, kind) if name not in before] if kind else []
    else:
        words = ["all", *(kind.plural for kind in KINDS), *(f"{kind.singular}/" for kind in KINDS)]
        words = words if incomplete else [word for word in words if not word.endswith("/")]
    return [word for word in words if word.startswith(incomplete)]


def complete_container(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Of what `logs` and `exec` take: a pod, or kind/name."""
    if "/" in incomplete:
        return complete_objects(ctx, param, incomplete)
    pods = next(kind for kind in KINDS if kind.kind == "Pod")
    return [name for name in (*_names(ctx, pods), "deploy/", "rs/") if name.startswith(incomplete)]


def complete_container_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Of -c: the containers of the pod that stands on the line already."""
    pod = ctx.params.get("target") or next(iter(ctx.args), "")  # not parsed yet while the value of -c is missing
    namespace = ctx.params.get("namespace") or "default"
    rows = _ask(ctx, f"{OWN}/containers")
    names = {row["name"] for row in rows if (row["namespace"], row["pod"]) == (namespace, pod)}
    return sorted(name for name in names if name.startswith(incomplete))
