"""Objects to the text of `describe`. Pure: JSON in, text out.

The shape is kubectl's: a key, its value in a column, nested by two spaces. Values of
Secrets and of variables taken from them are never in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.api.podtext import pod_cells
from reconciler.api.tables import age, human_duration, render_selector
from reconciler.cli.ages import parse_time, show_time
from reconciler.cli.table import Table

Json = Mapping[str, Any]
NONE = "<none>"
_KEY_WIDTH = 18


class Page:
    """Lines of `Key:   value`, indented, with values that line up on each level."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = 0

    def field(self, key: str, value: object) -> None:
        """One line; several lines of `value` line up under the first."""
        first, *rest = str(value).splitlines() or [""]
        label = f"{'  ' * self._indent}{key}:"
        width = max(_KEY_WIDTH + 2 * self._indent, len(label) + 1)
        self._lines.append(f"{label:<{width}}{first}".rstrip())
        self._lines += [f"{'':<{width}}{line}".rstrip() for line in rest]

    def mapping(self, key: str, values: Json | None) -> None:
        """One pair a line."""
        self.field(key, "\n".join(f"{k}={v}" for k, v in sorted((values or {}).items())) or NONE)

    def text(self, text: str) -> None:
        """Lines as they are, at the present indentation."""
        self._lines += [("  " * self._indent + line).rstrip() for line in text.splitlines()]

    def section(self, key: str) -> Page:
        """`with page.section("State"):` nests what follows."""
        self._lines.append(f"{'  ' * self._indent}{key}:")
        return self

    def __enter__(self) -> Page:
        self._indent += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._indent -= 1

    def render(self) -> str:
        return "".join(line + "\n" for line in self._lines)


def describe(item: Json, events: Sequence[Json], now: float) -> str:
    """One object as text. `events` are those about it; `now` is seconds since the epoch."""
    page, meta = Page(), item["metadata"]
    page.field("Name", meta["name"])
    if meta.get("namespace"):
        page.field("Namespace", meta["namespace"])
    page.mapping("Labels", meta.get("labels"))
    page.mapping("Annotations", meta.get("annotations"))
    if (born := parse_time(meta.get("creationTimestamp"))) is not None:
        page.field("Created", f"{show_time(born)} ({human_duration(now - born)} ago)")
    if (leaving := parse_time(meta.get("deletionTimestamp"))) is not None:
        page.field("Status", f"Terminating (lasts {human_duration(now - leaving)})")
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            page.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    bodies = {
        "Pod": _pod,
        "Deployment": _deployment,
        "ReplicaSet": _replica_set,
        "ConfigMap": _config_map,
        "Secret": _secret,
        "Namespace": _namespace,
    }
    bodies[item["kind"]](page, item, now)
    _events(page, events, now)
    return page.render()


def _namespace(page: Page, item: Json, _now: float) -> None:
    page.field("Phase", (item.get("status") or {}).get("phase", "Active"))


def _config_map(page: Page, item: Json, _now: float) -> None:
    data, binary = item.get("data") or {}, item.get("binaryData") or {}
    with page.section("Data"):
        for key, value in sorted(data.items()):
            page.text(f"{key}: ({len(value.encode())} bytes)")
            page.text("----")
            page.text(value)
        for key, value in sorted(binary.items()):
            page.text(f"{key}: {_decoded_bytes(value)} bytes, binary")
        if not data and not binary:
            page.text(NONE)


def _secret(page: Page, item: Json, _now: float) -> None:
    page.field("Type", item.get("type", "Opaque"))
    with page.section("Data"):
        for key, value in sorted((item.get("data") or {}).items()):
            page.field(key, f"{_decoded_bytes(value)} bytes")
        if not item.get("data"):
            page.text(NONE)


def _decoded_bytes(text: str) -> int:
    return len(base64.b64decode(text))


def _deployment(page: Page, item: Json, now: float) -> None:
    spec, status = item["spec"], item.get("status") or {}
    counts = [
        f"{spec.get('replicas', 1)} desired",
        f"{status.get('updatedReplicas', 0)} updated",
        f"{status.get('replicas', 0)} total",
        f"{status.get('availableReplicas', 0)} available",
        f"{status.get('unavailableReplicas', 0)} unavailable",
    ]
    page.field("Selector", render_selector(spec.get("selector") or {}))
    page.field("Replicas", " | ".join(counts))
    page.field("Generation", f"{item['metadata'].get('generation', 0)}, seen {status.get('observedGeneration', 0)}")
    strategy = spec.get("strategy") or {}
    page.field("Strategy", strategy.get("type", "RollingUpdate"))
    if rolling := strategy.get("rollingUpdate"):
        page.field(
            "Rolling Update", f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge"
        )
    _template(page, spec)
    _conditions(page, status, now)


def _replica_set(page: Page, item: Json, now: float) -> None:
    spec, status = item["spec"], item.get("status") or {}
    page.field("Selector", render_selector(spec.get("selector") or {}))
    wanted, current = spec.get("replicas", 1), status.get("replicas", 0)
    page.field("Replicas", f"{current} current / {wanted} desired, {status.get('readyReplicas', 0)} ready")
    _template(page, spec)
    _conditions(page, status, now)


def _template(page: Page, spec: Json) -> None:
    template = spec.get("template") or {}
    with page.section("Pod Template"):
        page.mapping("Labels", (template.get("metadata") or {}).get("labels"))
        _pod_spec(page, template.get("spec") or {}, {}, 0.0)


def _pod(page: Page, item: Json, now: float) -> None:
    spec, status = item["spec"], item.get("status") or {}
    page.field("Node", spec.get("nodeName") or NONE)
    if not item["metadata"].get("deletionTimestamp"):
        page.field("Status", pod_cells(item).status)
    page.field("Phase", status.get("phase", "Unknown"))
    for key, value in (("Reason", status.get("reason")), ("Message", status.get("message"))):
        if value:
            page.field(key, value)
    page.field("IP", ", ".join(ip["ip"] for ip in status.get("podIPs") or ()) or status.get("podIP") or NONE)
    page.field("QoS Class", status.get("qosClass") or NONE)
    page.field("Restart Policy", spec.get("restartPolicy", "Always"))
    states = {c["name"]: c for key in ("initContainerStatuses", "containerStatuses") for c in status.get(key) or ()}
    _pod_spec(page, spec, states, now)
    _conditions(page, status, now)


def _pod_spec(page: Page, spec: Json, states: Mapping[str, Json], now: float) -> None:
    for title, key in (("Init Containers", "initContainers"), ("Containers", "containers")):
        if spec.get(key):
            with page.section(title):
                for container in spec[key]:
                    _container(page, container, states.get(container["name"]), now)
    with page.section("Volumes"):
        for volume in spec.get("volumes") or ():
            page.field(volume["name"], _volume(volume))
        if not spec.get("volumes"):
            page.text(NONE)


def _container(page: Page, container: Json, status: Json | None, now: float) -> None:
    with page.section(container["name"]):
        if status and status.get("containerID"):
            page.field("Container ID", status["containerID"])
        page.field("Image", container.get("image", ""))
        if status and status.get("imageID"):
            page.field("Image ID", status["imageID"])
        for key, value in (("Command", container.get("command")), ("Args", container.get("args"))):
            if value:
                page.field(key, "\n".join(value))
        ports = [_port(port) for port in container.get("ports") or ()]
        page.field("Ports", ", ".join(ports) or NONE)
        if status:
            _state(page, "State", status.get("state") or {}, now)
            if status.get("lastState"):
                _state(page, "Last State", status["lastState"], now)
            page.field("Ready", bool(status.get("ready")))
            page.field("Restart Count", status.get("restartCount", 0))
        for key in ("limits", "requests"):
            if values := (container.get("resources") or {}).get(key):
                page.field(key.capitalize(), ", ".join(f"{k} {v}" for k, v in sorted(values.items())))
        _environment(page, container)
        mounts = [
            f"{m['mountPath']} from {m['name']} ({'ro' if m.get('readOnly') else 'rw'})"
            for m in container.get("volumeMounts") or ()
        ]
        page.field("Mounts", "\n".join(mounts) or NONE)


def _port(port: Json) -> str:
    text = f"{port['containerPort']}/{port.get('protocol', 'TCP')}"
    return f"{text} (host {port['hostPort']})" if port.get("hostPort") else text


def _state(page: Page, title: str, state: Json, now: float) -> None:
    """One of waiting, running and terminated, with its details."""
    for word, details in state.items():
        page.field(title, word.capitalize())
        page.__enter__()
        for key in ("reason", "message", "exitCode", "signal"):
            if details.get(key) not in (None, ""):
                page.field({"exitCode": "Exit Code"}.get(key, key.capitalize()), details[key])
        for key, name in (("startedAt", "Started"), ("finishedAt", "Finished")):
            if (at := parse_time(details.get(key))) is not None:
                page.field(name, f"{show_time(at)} ({human_duration(now - at)} ago)")
        page.__exit__()


def _environment(page: Page, container: Json) -> None:
    lines = []
    for source in container.get("envFrom") or ():
        prefix = f", with the prefix {source['prefix']!r}" if source.get("prefix") else ""
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if key in source:
                lines.append(f"all of {kind} {source[key]['name']}{_optional(source[key])}{prefix}")
    for variable in container.get("env") or ():
        lines.append(f"{variable['name']}: {_env_value(variable)}")
    page.field("Environment", "\n".join(lines) or NONE)


def _env_value(variable: Json) -> str:
    source = variable.get("valueFrom") or {}
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if ref := source.get(key):
            return f"<key {ref['key']} of {kind} {ref['name']}>{_optional(ref)}"
    if ref := source.get("fieldRef"):
        return f"<{ref['fieldPath']}>"
    if ref := source.get("resourceFieldRef"):
        return f"<{ref['resource']}>"
    return str(variable.get("value", ""))


def _optional(ref: Json) -> str:
    return " (optional)" if ref.get("optional") else ""


def _volume(volume: Json) -> str:
    for key, details in volume.items():
        if key == "name":
            continue
        details = details or {}
        match key:
            case "emptyDir":
                size = f", at most {details['sizeLimit']}" if details.get("sizeLimit") else ""
                return f"emptyDir, {'in memory' if details.get('medium') == 'Memory' else 'on disk'}{size}"
            case "hostPath":
                return f"hostPath {details.get('path')} {details.get('type') or ''}".rstrip()
            case "configMap":
                return f"ConfigMap {details.get('name')}{_optional(details)}"
            case "secret":
                return f"Secret {details.get('secretName')}{_optional(details)}"
            case _:
                return key
    return "emptyDir, on disk"


def _conditions(page: Page, status: Json, now: float) -> None:
    conditions = status.get("conditions") or ()
    if not conditions:
        return
    table = Table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"))
    rows = [
        (
            c["type"],
            c["status"],
            c.get("reason") or "",
            age(c.get("lastTransitionTime"), now),
            c.get("message") or "",
        )
        for c in conditions
    ]
    with page.section("Conditions"):
        page.text(table.render(rows))


def _events(page: Page, events: Iterable[Json], now: float) -> None:
    ordered = sorted(events, key=event_time)
    if not ordered:
        page.field("Events", NONE)
        return
    table = Table(("AGE", "TYPE", "REASON", "MESSAGE"))
    with page.section("Events"):
        page.text(table.render([_event(event, now) for event in ordered]))


def event_time(event: Json) -> float:
    """When an event was last seen, in seconds since the epoch."""
    return parse_time(event.get("lastTimestamp") or event.get("eventTime")) or 0.0


def _event(event: Json, now: float) -> tuple[str, str, str, str]:
    seen = human_duration(now - event_time(event))
    count, first = event.get("count") or 1, parse_time(event.get("firstTimestamp"))
    if count > 1 and first is not None:
        seen = f"{seen} (x{count} over {human_duration(now - first)})"
    return seen, event.get("type", ""), event.get("reason", ""), (event.get("message") or "").strip()
