"""Query strings and Accept headers."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from multidict import MultiDict

from reconciler.api.failures import Failure
from reconciler.api.queries import (
    continue_token,
    parse_exec,
    parse_list,
    parse_log,
    table_include,
    wants_table,
)
from reconciler.api.resources import POD, RESOURCES

NOW = 1_000_000.0


def query(text: str) -> MultiDict[str]:
    return MultiDict(parse_qsl(text, keep_blank_values=True))


def refusal(parse: object, *args: object, **kwargs: object) -> Failure:
    with pytest.raises(Failure) as caught:
        parse(*args, **kwargs)  # type: ignore[operator]
    return caught.value


def test_list_options() -> None:
    asked = parse_list(
        POD,
        query("watch=1&resourceVersion=7&timeoutSeconds=30&limit=5&allowWatchBookmarks=true&labelSelector=a"),
        namespace="x",
    )
    assert (asked.watch, asked.since, asked.timeout_seconds, asked.limit, asked.bookmarks) == (True, 7, 30, 5, True)
    assert asked.selection.namespace == "x"
    assert not asked.selection.is_whole


@pytest.mark.parametrize(
    ("text", "watch"), [("", False), ("watch", True), ("watch=", True), ("watch=0", False), ("watch=False", False)]
)
def test_booleans_as_the_api_server_reads_them(text: str, watch: bool) -> None:
    assert parse_list(POD, query(text)).watch is watch


@pytest.mark.parametrize("text", ["resourceVersion=", "resourceVersion=0", "resourceVersion=9&sendInitialEvents=true"])
def test_a_watch_from_now(text: str) -> None:
    assert parse_list(POD, query(text)).since is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("labelSelector=a b", "unable to parse requirement"),
        ("fieldSelector=foo=1", "field label not supported: foo"),
        ("fieldSelector=foo", "invalid selector"),
        ("resourceVersion=x", "'x' is not a whole number"),
        ("limit=1e3", "'1e3' is not a whole number"),
        ("timeoutSeconds=" + "9" * 30, "is not a whole number"),
        ("continue=%%%", "continue key is not valid"),
        ("continue=bnVsbA==", "continue key is not valid"),
    ],
)
def test_list_options_that_make_no_sense(text: str, sentence: str) -> None:
    failure = refusal(parse_list, POD, query(text))
    assert (failure.code, failure.reason) == (400, "BadRequest")
    assert sentence in str(failure)


def test_where_the_next_page_begins() -> None:
    asked = parse_list(POD, query(f"continue={continue_token(('default', 'web'), 42)}"))
    assert (asked.after, asked.after_version) == (("default", "web"), 42)


def test_every_kind_is_selected_by_its_own_fields() -> None:
    selectable = {resource.kind: resource.selectable for resource in RESOURCES}
    assert "status.phase" in selectable["Pod"]
    assert "involvedObject.name" in selectable["Event"]
    assert "metadata.namespace" not in selectable["Namespace"]


def test_log_options() -> None:
    asked = parse_log(
        query("container=a&follow=true&previous=1&timestamps=yes&tailLines=0&limitBytes=9&sinceSeconds=60"),
        pod="web",
        now=NOW,
    )
    assert (asked.container, asked.follow, asked.previous, asked.timestamps) == ("a", True, True, True)
    assert (asked.tail, asked.limit_bytes, asked.since) == (0, 9, NOW - 60)


@pytest.mark.parametrize("moment", ["1970-01-12T13:46:40Z", "1970-01-12T14:46:40%2B01:00", "1970-01-12T13:46:40.0Z"])
def test_since_time(moment: str) -> None:
    assert parse_log(query(f"sinceTime={moment}"), pod="web", now=0).since == NOW


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of `sinceTime` or `sinceSeconds`"),
        ("sinceTime=yesterday", 400, "'yesterday' is not an RFC 3339 time"),
        ("sinceTime=2026-01-01T00:00:00", 400, "has no time zone"),
        ("tailLines=many", 400, "'many' is not a whole number"),
    ],
)
def test_log_options_that_make_no_sense(text: str, code: int, sentence: str) -> None:
    failure = refusal(parse_log, query(text), pod="web", now=NOW)
    assert failure.code == code
    assert sentence in str(failure)


def test_exec_options() -> None:
    asked = parse_exec(query("command=sh&command=-c&command=a b&stdin=true&stdout=true&tty=true&container=c"))
    assert asked.command == ("sh", "-c", "a b")
    assert (asked.container, asked.stdin, asked.stdout, asked.stderr, asked.tty) == ("c", True, True, False, True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("stdout=1", "at least one command"), ("command=ls", "at least 1 of stdin, stdout, stderr")],
)
def test_exec_options_that_make_no_sense(text: str, sentence: str) -> None:
    assert sentence in str(refusal(parse_exec, query(text)))


KUBECTL = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


@pytest.mark.parametrize(
    ("accept", "table"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        (KUBECTL, True),
        ("application/json, " + KUBECTL, False),  # the first that we can give
        ("application/json; as=Table; v=v1; g=meta.k8s.io", True),
        ("application/vnd.kubernetes.protobuf,application/json", False),
        ("application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io,application/json", False),
    ],
)
def test_accept(accept: str, table: bool) -> None:
    assert wants_table(accept) is table


def test_accept_of_nothing_that_there_is() -> None:
    failure = refusal(wants_table, "application/yaml")
    assert (failure.code, failure.reason) == (406, "NotAcceptable")


def test_include_object() -> None:
    assert table_include(query("")) == "Metadata"
    assert table_include(query("includeObject=Object")) == "Object"
    assert "includeObject" in str(refusal(table_include, query("includeObject=all")))
