"""A way for our packets through the forwarding rules of other container engines.

Docker, ufw and others let iptables' FORWARD chain drop what they do not know. An accept in
our own table cannot overrule that, so a rule of ours goes in front of theirs, where that is
the case and only there. It carries our comment, and `remove` takes it out again.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.runtimes.native import tools


def ensure(bridge: str, comment: str) -> None:
    """Put our rules in where forwarding is dropped. Idempotent. Raises: TransientError(reason="ForwardingBlocked")."""
    for program in _programs():
        for arguments in plan_passage(_run(program, "-S"), bridge, comment):
            _run(program, *arguments)


def remove(comment: str) -> None:
    """Take all our rules out. Idempotent. Raises: TransientError(reason="ForwardingBlocked")."""
    for program in _programs():
        for arguments in plan_removal(_run(program, "-S"), comment):
            _run(program, *arguments)


def is_legacy() -> bool:
    """Whether the kernel holds rules of the old iptables, which do not count in nftables' generation."""
    try:
        return "filter" in Path("/proc/thread-self/net/ip_tables_names").read_text().split()
    except OSError:
        return False


def plan_passage(rules: str, bridge: str, comment: str) -> list[Sequence[str]]:
    """The calls of iptables that are missing, from what `iptables -S` printed. Pure.

    Source: docker's packet filtering guide: rules of others belong into DOCKER-USER.
    """
    lines = rules.splitlines()
    blocked = "-P FORWARD DROP" in lines or any(
        line.startswith(("-A FORWARD -j DROP", "-A FORWARD -j REJECT")) for line in lines
    )
    if not blocked:
        return []
    chain = "DOCKER-USER" if "-N DOCKER-USER" in lines else "FORWARD"
    missing: list[Sequence[str]] = []
    for direction in ("-i", "-o"):
        tail = (direction, bridge, "-m", "comment", "--comment", comment, "-j", "ACCEPT")
        if f"-A {chain} {' '.join(tail)}" not in lines:
            missing.append(("-I", chain, *tail))
    return missing


def plan_removal(rules: str, comment: str) -> list[Sequence[str]]:
    """The calls of iptables that delete every rule with our comment. Pure."""
    return [
        ("-D", *line.split()[1:])
        for line in rules.splitlines()
        if line.startswith("-A ") and f" --comment {comment} " in line
    ]


def _programs() -> Iterator[str]:
    if current := tools.find("iptables-nft") or tools.find("iptables"):
        yield current
    if is_legacy() and (legacy := tools.find("iptables-legacy")):  # only asking it would load its modules
        yield legacy


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run([program, "-w", "5", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()[:1] or ["no reason given"]
        raise TransientError(f"{program} {' '.join(arguments)}: {words[0]}", reason="ForwardingBlocked")
    return done.stdout
