"""USER of an image, in every form a Dockerfile may give it."""

from __future__ import annotations

import pytest

from reconciler.errors import TerminalError
from reconciler.runtimes.native.users import User, resolve

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
www:x:33:34:www:/var/www:/bin/sh
broken line
odd:x:abc:1:::
"""
GROUP = "root:x:0:\nwww:x:34:\nadm:x:4:www,root\nextra:x:99:www\n"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", User(0, 0, (4,), "/root")),
        ("www", User(33, 34, (4, 99), "/var/www")),
        ("33", User(33, 34, (4, 99), "/var/www")),
        ("www:adm", User(33, 4, (), "/var/www")),
        ("33:7", User(33, 7, (), "/var/www")),
        ("1234", User(1234, 0)),
        (":adm", User(0, 4, (), "/root")),
    ],
)
def test_resolve(wanted: str, expected: User) -> None:
    assert resolve(wanted, PASSWD, GROUP) == expected


@pytest.mark.parametrize(("wanted", "word"), [("nobody", "user 'nobody'"), ("www:nope", "group 'nope'")])
def test_unknown_names(wanted: str, word: str) -> None:
    with pytest.raises(TerminalError, match=word) as caught:
        resolve(wanted, PASSWD, GROUP)
    assert caught.value.reason == "CreateContainerConfigError"


def test_numbers_need_no_files() -> None:
    assert resolve("5:6", "", "") == User(5, 6)
