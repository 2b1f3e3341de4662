"""A host port that somebody else has: said who, and taken as soon as it is free."""

from __future__ import annotations

import os
import socket
import urllib.request

from tests.e2e.instance import Instance, free_port, pod


def web(name: str, port: int) -> str:
    """A pod that answers with its name on a port of the host."""
    serve = f"mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www"
    return pod(name, serve, container={"ports": [{"containerPort": 80, "hostPort": port}]})


def answer(port: int) -> str:
    try:
        return str(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read().decode().strip())
    except OSError:
        return ""


def status(one: Instance, name: str) -> tuple[str, str]:
    found = one.pods().get(name, {}).get("status", {})
    return found.get("reason", ""), found.get("message", "")


def test_a_host_port_that_is_taken(one: Instance) -> None:
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", port))
        holder.listen()
        one.put("first.yaml", web("first", port))
        one.put("beside.yaml", pod("beside"))
        one.until(lambda: status(one, "first")[0] == "HostPortConflict")
        assert f"pid {os.getpid()}" in status(one, "first")[1]
        assert str(port) in status(one, "first")[1]
        assert one.events("first")["HostPortConflict"] == status(one, "first")[1]
        one.until(lambda: one.ready("beside"), "the rest converges")
        assert {row["pod"] for row in one.containers()} == {"beside"}
    one.until(lambda: answer(port) == "first", "taken when it is free")

    one.put("second.yaml", web("second", port))
    one.until(lambda: status(one, "second")[0] == "HostPortConflict")
    assert "default/first" in status(one, "second")[1]
    assert answer(port) == "first", "who has it keeps it"
    one.delete("first.yaml")
    one.until(lambda: answer(port) == "second")
    one.delete("second.yaml")
    one.until(lambda: "second" not in one.pods())
    assert answer(port) == ""
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("0.0.0.0", port))
