"""Rules of probes and lifecycle hooks."""

from __future__ import annotations

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.report import Report
from reconciler.manifest.yamltree import Location
from reconciler.model.container import Container, HTTPGetAction, Lifecycle, LifecycleHandler, Probe
from reconciler.model.pod import PodSpec


def check_probes(container: Container, at: Location, report: Report) -> None:
    for field, probe in (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    ):
        if probe is None:
            continue
        here = (*at, field)
        _check_probe(probe, here, report)
        if field == "readinessProbe":
            if probe.termination_grace_period_seconds is not None:
                report.error(
                    (*here, "terminationGracePeriodSeconds"), "must be left out: a readiness probe ends nothing"
                )
        elif probe.success_threshold != 1:
            report.refuse((*here, "successThreshold"), probe.success_threshold, "must be 1 for this probe")


def _check_probe(probe: Probe, at: Location, report: Report) -> None:
    handlers = {"exec": probe.exec, "httpGet": probe.http_get, "tcpSocket": probe.tcp_socket, "grpc": probe.grpc}
    given = [name for name, handler in handlers.items() if handler is not None]
    _one_of(given, list(handlers), at, report)
    _check_handler(probe, at, report)
    if probe.grpc is not None:
        report.between((*at, "grpc", "port"), probe.grpc.port, 1, 65535)
    report.at_least((*at, "initialDelaySeconds"), probe.initial_delay_seconds)
    for field, value in (
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        report.at_least((*at, field), value)
    report.at_least((*at, "terminationGracePeriodSeconds"), probe.termination_grace_period_seconds, 1)


def check_lifecycle(lifecycle: Lifecycle, spec: PodSpec, at: Location, report: Report) -> None:
    for field, handler in (("postStart", lifecycle.post_start), ("preStop", lifecycle.pre_stop)):
        if handler is None:
            continue
        here = (*at, field)
        handlers = {
            "exec": handler.exec,
            "httpGet": handler.http_get,
            "tcpSocket": handler.tcp_socket,
            "sleep": handler.sleep,
        }
        _one_of([name for name, each in handlers.items() if each is not None], list(handlers), here, report)
        _check_handler(handler, here, report)
        if handler.sleep is not None:
            grace = spec.termination_grace_period_seconds
            report.between((*here, "sleep", "seconds"), handler.sleep.seconds, 0, 30 if grace is None else grace)
    if lifecycle.stop_signal is not None and (spec.os is None or spec.os.name is None):
        report.error(
            (*at, "stopSignal"), "needs spec.os.name: signals depend on the operating system; write os: {name: linux}"
        )


def _one_of(given: list[str], all_of: list[str], at: Location, report: Report) -> None:
    if not given:
        report.required(at, f"what to do, one of {', '.join(all_of)}")
    elif len(given) > 1:
        report.error(at, f"has {' and '.join(given)}, and only one of them can be used")


def _check_handler(handler: Probe | LifecycleHandler, at: Location, report: Report) -> None:
    if handler.exec is not None and not handler.exec.command:
        report.required((*at, "exec", "command"), "the command and its arguments")
    if handler.http_get is not None:
        _check_http(handler.http_get, (*at, "httpGet"), report)
    if handler.tcp_socket is not None:
        _check_port(handler.tcp_socket.port, (*at, "tcpSocket", "port"), report)


def _check_http(action: HTTPGetAction, at: Location, report: Report) -> None:
    _check_port(action.port, (*at, "port"), report)
    for index, header in enumerate(action.http_headers):
        report.check((*at, "httpHeaders", index, "name"), header.name, formats.header(header.name))


def _check_port(port: int | str, at: Location, report: Report) -> None:
    if isinstance(port, str):
        report.check(at, port, formats.port_name(port) if port else "is no port: write a number or a port's name")
    else:
        report.between(at, port, 1, 65535)
