"""Who a container's process is: an image says "www-data:adm" or "33", the kernel wants numbers.

Pure: the texts of the image's /etc/passwd and /etc/group are arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.errors import TerminalError


@dataclass(frozen=True, slots=True)
class User:
    """Numbers, and the home directory ("" when the image does not know the user)."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


def resolve(wanted: str, passwd: str, group: str) -> User:
    """Resolve `user[:group]`, each a name or a number, as `USER` of a Dockerfile may hold it.

    A user without a group gets its own from passwd (else 0) and all groups that name it.
    Raises: TerminalError(reason="CreateContainerConfigError") for a name the image does not have.
    """
    name, _, group_name = (wanted or "0").partition(":")
    uid, gid, home, login = _user(name or "0", passwd)
    if group_name:
        return User(uid, _group(group_name, group), (), home)
    groups = {int(number) for _, number, members in _rows(group, 4) if login and login in members.split(",")}
    return User(uid, gid, tuple(sorted(groups - {gid})), home)


def _user(wanted: str, passwd: str) -> tuple[int, int, str, str]:
    number = int(wanted) if wanted.isascii() and wanted.isdigit() else None
    for fields in _passwd(passwd):
        if fields[0] == wanted or (number is not None and int(fields[2]) == number):
            return int(fields[2]), int(fields[3]), fields[5], fields[0]
    if number is None:
        raise TerminalError(
            f"the image has no user {wanted!r} in /etc/passwd; name one it has, or set runAsUser to a number",
            reason="CreateContainerConfigError",
        )
    return number, 0, "", ""


def _group(wanted: str, group: str) -> int:
    if wanted.isascii() and wanted.isdigit():
        return int(wanted)
    for name, number, _ in _rows(group, 4):
        if name == wanted:
            return int(number)
    raise TerminalError(
        f"the image has no group {wanted!r} in /etc/group; name one it has, or set runAsGroup to a number",
        reason="CreateContainerConfigError",
    )


def _passwd(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            yield fields


def _rows(text: str, width: int) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= width and fields[2].isdigit():
            yield fields[0], fields[2], fields[3]
