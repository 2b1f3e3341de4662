"""The kernel's side of ruleset.py: one table, replaced whole, and watched for cheap."""

from __future__ import annotations

import subprocess
import threading

from reconciler.errors import TransientError
from reconciler.runtimes.native import tools
from reconciler.runtimes.native.net import rtnetlink, ruleset

_ATTEMPTS = 3


class Firewall:
    """Owner of one nftables table; `replace` is its only write.

    The kernel numbers every change that anybody makes to any table. While that number is
    the one that we saw after our own write, our table is as we wrote it, and no program runs to tell.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._netlink: rtnetlink.Socket | None = None
        self._applied = ""
        self._listing = ""
        self._generation = -1

    def replace(self, body: str) -> None:
        """Swap the whole table for `body` in one kernel transaction; no change, no write. Idempotent.

        Raises: HostError (no nft), TransientError(reason="RulesetRejected"): nft's own words, the old rules stay.
        """
        with self._lock:
            if body == self._applied and self._intact():
                return
            self._applied = ""
            for _ in range(_ATTEMPTS):
                before = self._read_generation()
                _nft("-f", "-", stdin=body)
                self._listing = self._list()
                self._generation = self._read_generation()
                if self._generation == before + 1:  # what was listed is what we wrote: nobody came between
                    break
            self._applied = body

    def remove(self) -> None:
        """Delete the table. Nothing to do is fine. Raises: HostError, TransientError(reason="RulesetRejected")."""
        with self._lock:
            self._applied = ""
            _nft("-f", "-", stdin=ruleset.render_removal(self._table))

    def exists(self) -> bool:
        """Whether there is a table of that name, whoever wrote it. Raises: HostError."""
        with self._lock:
            return self._list() != ""

    def intact(self) -> bool:
        """Whether the table is as `replace` last wrote it; False before the first time."""
        with self._lock:
            return self._applied != "" and self._intact()

    def generation(self) -> int:
        """The kernel's number for the state of all rules."""
        with self._lock:
            return self._read_generation()

    def close(self) -> None:
        with self._lock:
            if self._netlink is not None:
                self._netlink.close()
                self._netlink = None

    def _intact(self) -> bool:
        generation = self._read_generation()
        if generation == self._generation:
            return True
        if self._list() != self._listing:
            return False
        self._generation = generation
        return True

    def _list(self) -> str:
        try:
            return _nft("list", "table", "ip", self._table)
        except TransientError:
            return ""

    def _read_generation(self) -> int:
        if self._netlink is None:
            self._netlink = rtnetlink.Socket(rtnetlink.NETLINK_NETFILTER)
        return self._netlink.generation()


def _nft(*arguments: str, stdin: str = "") -> str:
    command = [tools.require("nft"), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()[:1] or ["no reason given"]
        raise TransientError(f"nft refused the rules: {words[0]}", reason="RulesetRejected")
    return done.stdout
