"""The options of an overlay mount."""

from __future__ import annotations

from reconciler.runtimes.native.kernel import parse_mounts
from reconciler.runtimes.native.rootfs import render_options


def test_options() -> None:
    assert render_options(["/l/2", "/l/1"], "/c/u", "/c/w") == "lowerdir=/l/2:/l/1,upperdir=/c/u,workdir=/c/w"


def test_odd_paths_are_escaped() -> None:
    assert render_options(["/a:b,c"], "/d\\e", "/w") == "lowerdir=/a\\:b\\,c,upperdir=/d\\\\e,workdir=/w"


def test_mountinfo() -> None:
    text = (
        "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
        "28 27 0:25 / /with\\040space rw shared:2 master:1 - tmpfs x ro\n"
        "29 27 0:25 / /plain rw - tmpfs x ro\n"
    )
    assert parse_mounts(text) == {"/": "shared:1", "/with space": "shared:2 master:1", "/plain": ""}
