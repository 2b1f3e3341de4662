"""What happened, oldest first."""

from __future__ import annotations

EVENTS = "GET /api/v1/namespaces/default/events"
LATER = "1970-01-12T13:46:30Z"


def some(make):
    return [
        make.event("Pod/web-0", "BackOff", "again", at=LATER, type="Warning"),
        make.event("Pod/web-0", "Created", "made"),
    ]


def test_oldest_first(run, daemon, make) -> None:
    daemon.on(EVENTS, make.listing("Event", some(make)))
    assert run("events").out == (
        "LAST SEEN   TYPE      REASON    OBJECT      MESSAGE\n"
        "60s         Normal    Created   pod/web-0   made\n"
        "10s         Warning   BackOff   pod/web-0   again\n"
    )


def test_only_of_a_type(run, daemon, make) -> None:
    daemon.on(EVENTS, make.listing("Event", some(make)))
    assert [line.split()[2] for line in run("events", "--types", "warning").out.splitlines()[1:]] == ["BackOff"]
    result = run("events", "--types", "bad")
    assert result.code == 2
    assert "Normal and Warning" in result.err


def test_only_of_an_object(run, daemon, make) -> None:
    daemon.on(EVENTS, make.listing("Event", []))
    result = run("events", "--for", "deploy/web")
    assert daemon.requests[-1].query["fieldSelector"] == "involvedObject.kind=Deployment,involvedObject.name=web"
    assert (result.code, result.out, result.err) == (0, "", "No events found in default namespace.\n")
    assert run("events", "--for", "web").code == 2
    assert run("events", "--for", "pods").code == 2


def test_watching_goes_on_and_leaves_out_what_expires(run, daemon, make) -> None:
    def answer(request):
        if "watch" not in request.query:
            return make.listing("Event", [make.event("Pod/web-0", "Created", "made")])(request)
        again = make.listing("Event", [make.event("Pod/web-0", "Started", "started", at=LATER)])(request)
        old = make.listing("Event", [make.event("Pod/web-0", "Created", "made")])(request)
        return make.lines([{"type": "ADDED", "object": again}, {"type": "DELETED", "object": old}])

    daemon.on(EVENTS, answer)
    out = run("events", "-w").out
    assert [line.split()[2] for line in out.splitlines()] == ["TYPE", "Created", "Started"]
    assert run("events", "-w", "-o", "name").out == "event/web-0.1\nevent/web-0.1\n"
