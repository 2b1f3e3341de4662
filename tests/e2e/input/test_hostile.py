"""Files made to cost as much as can be: refused in bounded time and memory, and the rest goes on meanwhile."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.e2e.instance import Instance, pod

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n"
LEVELS = "abcdefghijklm"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{LEVELS[level]}'] * 9)}]\n" for level, name in enumerate(LEVELS[1:])
)
HOSTILE = {
    "alias bomb": (BOMB, "multiply beyond measure"),
    "deep flow": ("[" * 10_000 + "]" * 10_000, "more than 200 levels deep"),
    "deep block": ("- " * 10_000 + "x", "more than 200 levels deep"),
    "too big": (HEAD + "  k: " + "x" * 10_000_000 + "\n", "the limit is 10 MB"),
    "many values": (HEAD + "".join(f"  k{n}: vvvvvvvvvvvvvvvvvvvv\n" for n in range(300_000)), "300,000 values"),
    "many documents": ("---\n" * 2_400_000, "10,000 documents"),
    "one long value": (HEAD + "  k: " + "x" * 9_900_000 + "\n", "too long"),
    "no text": ("\x00\xff\xfe" * 100_000, "control character"),
}
MAX_GROWTH_BYTES = 150 << 20
MAX_KEPT_BYTES = 64 << 20  # 44 MiB were measured; what keeps them is not known yet
MAX_SECONDS = 10.0
MAX_RESTART_SECONDS = 1.5


def resident_bytes(one: Instance, field: str = "VmRSS") -> int:
    assert one.daemon is not None
    lines = Path(f"/proc/{one.daemon.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def restart_seconds(one: Instance, name: str) -> float:
    """Kill the process of a pod, and wait until it runs again."""
    first, start = one.id(name), time.monotonic()
    os.kill(one.pid(name), signal.SIGKILL)
    one.until(lambda: any(r["pod"] == name and r["state"] == "running" and r["id"] != first for r in one.containers()))
    return time.monotonic() - start


def test_it_is_refused_and_the_rest_goes_on(one: Instance) -> None:
    for number in range(len(HOSTILE)):
        one.put(f"web{number}.yaml", pod(f"web{number}"))
    one.until(lambda: all(one.ready(f"web{number}") for number in range(len(HOSTILE))))
    before = resident_bytes(one)
    for number, (name, (content, words)) in enumerate(HOSTILE.items()):
        start = time.monotonic()
        one.put("hostile.yaml", content)
        restart = restart_seconds(one, f"web{number}")
        one.until(lambda: any(words in p["message"] for p in one.problems()), name, MAX_SECONDS)  # noqa: B023
        took = time.monotonic() - start
        growth = resident_bytes(one, "VmHWM") - before
        print(f"{name}: refused in {took:.2f} s, {growth >> 20} MiB at most, a restart meanwhile {restart:.2f} s")
        assert restart < MAX_RESTART_SECONDS, name
        assert growth < MAX_GROWTH_BYTES, name
        one.put("hostile.yaml", "# harmless\n")
        one.until(lambda: not one.problems())
    one.put("later.yaml", pod("later"))
    one.until(lambda: one.ready("later"))
    assert resident_bytes(one) - before < MAX_KEPT_BYTES, "what was refused is not kept"
