"""Pods on the network: host ports, the host's own network, the world outside, and the files under /etc."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, free_port, pod

ANSWER = "import http.server as h, sys\n" + (
    "class A(h.BaseHTTPRequestHandler):\n"
    "  def do_GET(self):\n"
    "    self.send_response(200); self.end_headers(); self.wfile.write(self.client_address[0].encode())\n"
    "  def log_message(self, *a): pass\n"
    "h.HTTPServer((sys.argv[1], 80), A).serve_forever()"
)


def serving(name: str, **container: Any) -> str:
    script = f"mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p ${{PORT:-80}} -h /www"
    return pod(name, script, container=container)


def answer(address: str, port: int, *, inside: str = "") -> str:
    """What a web server says, "" when there is none. `inside` is a network namespace to ask from."""
    enter = ["ip", "netns", "exec", inside] if inside else []
    asked = ["curl", "-s", "--max-time", "2", f"http://{address}:{port}/"]
    return subprocess.run([*enter, *asked], capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def outside() -> Iterator[tuple[str, str, str]]:
    """A machine on a cable to this host. Yields its namespace, its address, and the host's on that cable."""
    tag = secrets.token_hex(3)
    name, link, octet = f"test-{tag}", f"t{tag}", 1 + secrets.randbelow(250)
    theirs, ours = f"198.51.{octet}.2", f"198.51.{octet}.1"
    inside = ["ip", "netns", "exec", name]
    subprocess.run(["ip", "netns", "add", name], check=True)
    server = None
    try:
        subprocess.run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name], check=True)
        subprocess.run(["ip", "address", "add", f"{ours}/30", "dev", link], check=True)
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
        for command in (f"address add {theirs}/30 dev eth0", "link set eth0 up", "link set lo up"):
            subprocess.run([*inside, "ip", *command.split()], check=True)
        server = subprocess.Popen([*inside, sys.executable, "-c", ANSWER, theirs])
        yield name, theirs, ours
    finally:
        if server is not None:
            server.kill()
            server.wait()
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_host_ports_and_the_world_outside(one: Instance) -> None:
    everywhere, loopback = free_port(), free_port()
    ports = [{"containerPort": 80, "hostPort": everywhere}]
    one.put("web.yaml", serving("web", ports=ports))
    one.put("local.yaml", serving("local", ports=[{"containerPort": 80, "hostPort": loopback, "hostIP": "127.0.0.1"}]))
    one.put("other.yaml", pod("other"))
    one.until(lambda: all(one.ready(name) for name in ("web", "local", "other")))
    address = one.pods()["web"]["status"]["podIP"]
    with outside() as (name, theirs, ours):
        assert one.until(lambda: answer("127.0.0.1", everywhere)) == "web"
        assert answer(ours, everywhere) == "web", "the host's other addresses"
        assert answer(address, 80) == "web", "the pod's own"
        assert one.until(lambda: answer("127.0.0.1", loopback)) == "local"
        assert answer(ours, loopback) == ""
        assert answer(ours, everywhere, inside=name) == "web", "from outside"
        assert answer(ours, loopback, inside=name) == ""
        fetch = ("exec", "other", "--", "wget", "-qO-")
        assert one.cli(*fetch, f"http://{address}/") == "web\n", "from another pod"
        assert one.cli(*fetch, f"http://{ours}:{everywhere}/") == "web\n", "by way of the host port"
        assert one.cli("exec", "web", "--", "wget", "-qO-", f"http://{ours}:{everywhere}/") == "web\n", "from itself"
        one.until(lambda: answer(theirs, 80))
        assert one.cli(*fetch, f"http://{theirs}/") == ours, "the outside sees the host, not the pod"
        one.kill()
        assert answer(ours, everywhere, inside=name) == "web", "while no daemon runs"
        one.start()
        one.until(lambda: one.ready("web"))
        assert answer("127.0.0.1", everywhere) == "web"
        assert one.pods()["web"]["status"]["podIP"] == address
    one.put("web.yaml", serving("web"))
    one.until(lambda: one.ready("web") and answer("127.0.0.1", everywhere) == "")


def test_the_hosts_own_network(one: Instance) -> None:
    port = free_port()
    text = serving("web", env=[{"name": "PORT", "value": f"127.0.0.1:{port}"}], ports=[{"containerPort": port}])
    one.put("web.yaml", text.replace('"containers"', '"hostNetwork": true, "containers"'))
    one.until(lambda: one.ready("web"))
    assert one.until(lambda: answer("127.0.0.1", port)) == "web"
    status = one.pods()["web"]["status"]
    assert status["podIP"] == status["hostIP"]
    mine, theirs = (Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", one.pid("web")))
    assert mine == theirs
    assert list((one.run_dir / "netns").iterdir()) == []
    assert one.cli("exec", "web", "hostname") == subprocess.run(["hostname"], capture_output=True, text=True).stdout


def test_the_files_under_etc(one: Instance) -> None:
    dns = {"nameservers": ["192.0.2.53"], "searches": ["shop.local"], "options": [{"name": "ndots", "value": "2"}]}
    aliases = [{"ip": "192.0.2.7", "hostnames": ["db", "db.local"]}]
    one.put("none.yaml", pod("none", dnsPolicy="None", dnsConfig=dns, hostAliases=aliases, hostname="front"))
    one.put("plain.yaml", pod("plain", dnsConfig={"searches": ["more.local"]}))
    one.until(lambda: one.ready("none") and one.ready("plain"))
    resolv = one.cli("exec", "none", "cat", "/etc/resolv.conf").splitlines()
    assert resolv == ["nameserver 192.0.2.53", "search shop.local", "options ndots:2"]
    hosts = [line.split() for line in one.cli("exec", "none", "cat", "/etc/hosts").splitlines()]
    assert ["192.0.2.7", "db", "db.local"] in hosts
    assert ["127.0.0.1", "localhost"] in hosts
    assert [one.pods()["none"]["status"]["podIP"], "front"] in hosts
    assert one.cli("exec", "none", "sh", "-c", "hostname; cat /etc/hostname").split() == ["front", "front"]
    assert "more.local" in one.cli("exec", "plain", "cat", "/etc/resolv.conf").split()
    first = one.id("none")
    one.put("none.yaml", pod("none", dnsPolicy="None", dnsConfig=dns, hostname="front"))
    one.until(lambda: one.ready("none") and one.id("none") != first)
    assert "db.local" not in one.cli("exec", "none", "cat", "/etc/hosts")
