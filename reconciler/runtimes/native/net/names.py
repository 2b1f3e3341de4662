"""What this instance calls its things on the host.

Everything is derived from the instance and the sandbox, so that a start after a kill
finds, by name alone, what is ours and whose it is. Link names hold 15 characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Names:
    """`instance` is 8 hexadecimal digits."""

    instance: str

    @property
    def bridge(self) -> str:
        return f"rec-{self.instance}"

    @property
    def table(self) -> str:
        """Of nftables, family ip. Also the comment of the rules we put into chains of others."""
        return f"reconciler_{self.instance}"

    @property
    def link_prefix(self) -> str:
        return f"r{self.instance}"

    @property
    def link_group(self) -> int:
        """A link group that holds only links on their way out. 32 bits, never 0, the default group."""
        return int(self.instance, 16) | 0x40000000

    def link(self, sandbox_id: str) -> str:
        """The host's end of a sandbox's veth: the instance and 31 bits of the sandbox's id."""
        number = int.from_bytes(sha256(sandbox_id.encode()).digest()[:8]) % 36**6
        digits = ""
        for _ in range(6):
            number, digit = divmod(number, 36)
            digits += _DIGITS[digit]
        return self.link_prefix + digits
