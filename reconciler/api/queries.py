"""What a request asks for: the query and the Accept header, parsed and checked. Pure.

Source: metav1.ListOptions, PodLogOptions and PodExecOptions, and how the API server converts query strings.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from reconciler.api.failures import Failure, bad_request, invalid
from reconciler.api.resources import Resource
from reconciler.api.selectors import Selection, parse_fields, parse_labels


class Query(Protocol):
    """A query string; a name may come several times."""

    def get(self, name: str, default: str) -> str: ...
    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]: ...
    def __contains__(self, name: object) -> bool: ...


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list or a watch asks for. `since` is None for "from now"; `limit` 0 is no limit;
    `after` is the key of the last item of the page before, and `after_version` the version of that page."""

    selection: Selection
    limit: int = 0
    after: tuple[str, ...] = ()
    after_version: int = 0
    watch: bool = False
    since: int | None = None
    timeout_seconds: float | None = None
    bookmarks: bool = False
    initial_events: bool = False


def parse_list(resource: Resource, query: Query, *, namespace: str = "") -> ListQuery:
    """Read the options of a list or a watch. Raises: Failure."""
    try:
        labels = parse_labels(query.get("labelSelector", ""))
    except ValueError as error:
        raise bad_request(f"unable to parse requirement: {error}") from error
    try:
        fields = parse_fields(query.get("fieldSelector", ""))
    except ValueError as error:
        raise bad_request(str(error)) from error
    for requirement in fields:
        if requirement.field not in resource.selectable:
            known = ", ".join(resource.selectable)
            raise bad_request(f"field label not supported: {requirement.field}; {resource.plural} have {known}")
    after, after_version = _parse_continue(query.get("continue", ""))
    since = _whole(query, "resourceVersion")
    initial_events = _flag(query, "sendInitialEvents")
    return ListQuery(
        selection=Selection(namespace, labels, fields),
        limit=max(0, _whole(query, "limit") or 0),
        after=after,
        after_version=after_version,
        watch=_flag(query, "watch"),
        since=None if initial_events or not since else since,
        timeout_seconds=_whole(query, "timeoutSeconds") or None,
        bookmarks=_flag(query, "allowWatchBookmarks"),
        initial_events=initial_events,
    )


def continue_token(key: Sequence[str], version: int) -> str:
    """Where the next page begins: behind `key`, in a list that began at `version`."""
    return base64.urlsafe_b64encode(json.dumps({"rv": version, "after": list(key)}).encode()).decode()


def _parse_continue(token: str) -> tuple[tuple[str, ...], int]:
    if not token:
        return (), 0
    try:
        value = json.loads(base64.urlsafe_b64decode(token))
        return tuple(str(part) for part in value["after"]), int(value["rv"])
    except (ValueError, TypeError, KeyError) as error:
        raise bad_request("continue key is not valid: it must be what the page before returned") from error


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What is asked of a log. `since` is seconds since the epoch; None is no bound."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float | None = None
    limit_bytes: int | None = None


def parse_log(query: Query, *, pod: str, now: float) -> LogQuery:
    """Read PodLogOptions. `now` is seconds since the epoch. Raises: Failure."""
    faults: list[tuple[str, str]] = []
    tail = _whole(query, "tailLines")
    limit_bytes = _whole(query, "limitBytes")
    since_seconds = _whole(query, "sinceSeconds")
    since = None if since_seconds is None else now - since_seconds
    if tail is not None and tail < 0:
        faults.append(("tailLines", f"Invalid value: {tail}: must be greater than or equal to 0"))
    if limit_bytes is not None and limit_bytes < 1:
        faults.append(("limitBytes", f"Invalid value: {limit_bytes}: must be greater than 0"))
    if since_seconds is not None and since_seconds < 1:
        faults.append(("sinceSeconds", f"Invalid value: {since_seconds}: must be greater than 0"))
    if since_time := query.get("sinceTime", ""):
        if since is not None:
            faults.append(("", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"))
        try:
            at = datetime.fromisoformat(since_time)
        except ValueError:
            raise bad_request(f"sinceTime: {since_time!r} is not an RFC 3339 time like 2026-01-31T12:00:00Z") from None
        if at.tzinfo is None:
            raise bad_request(f"sinceTime: {since_time!r} has no time zone; add Z or an offset like +01:00")
        since = at.timestamp()
    if faults:
        raise invalid("PodLogOptions", pod, faults)
    return LogQuery(
        container=query.get("container", ""),
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        tail=tail,
        since=since,
        limit_bytes=limit_bytes,
    )


@dataclass(frozen=True, slots=True)
class ExecQuery:
    """What is asked of an exec."""

    command: tuple[str, ...]
    container: str
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


def parse_exec(query: Query) -> ExecQuery:
    """Read PodExecOptions. Raises: Failure."""
    asked = ExecQuery(
        command=tuple(query.getall("command", ())),
        container=query.get("container", ""),
        stdin=_flag(query, "stdin"),
        stdout=_flag(query, "stdout"),
        stderr=_flag(query, "stderr"),
        tty=_flag(query, "tty"),
    )
    if not asked.command:
        raise bad_request("you must specify at least one command for the container")
    if not (asked.stdin or asked.stdout or asked.stderr):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return asked


def wants_table(accept: str) -> bool:
    """Whether the Accept header prefers a Table to the objects themselves.

    Raises: Failure 406 when we can give nothing that it names.
    """
    for wanted in accept.split(",") if accept else ["*/*"]:
        media_type, *given = (part.strip() for part in wanted.split(";"))
        parameters = dict(part.partition("=")[::2] for part in given)
        if media_type in ("application/json", "*/*", "application/*"):
            if parameters.get("as") == "Table" and parameters.get("v") == "v1":
                return True
            if "as" not in parameters:
                return False
    raise Failure(406, "NotAcceptable", "only the following media types are accepted: application/json")


def table_include(query: Query) -> str:
    """How much of its object a row of a Table carries. Raises: Failure."""
    include = query.get("includeObject", "") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        raise bad_request(f"unrecognized includeObject value: {include!r}; it is None, Metadata or Object")
    return include


def _flag(query: Query, name: str) -> bool:
    """A boolean as the API server reads it: there, and not `false` or `0`."""
    return name in query and query.get(name, "").lower() not in ("false", "0")


def _whole(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.removeprefix("-").isdecimal() or len(text) > 19:
        raise bad_request(f"{name}: {text!r} is not a whole number")
    return int(text)
