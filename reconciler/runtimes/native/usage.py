"""What trees of files take on disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path


def disk_bytes(trees: Iterable[Path]) -> Mapping[Path, int]:
    """The bytes on disk of each tree, mounts below it left out; one that is not there is left out. Blocks.

    du(1) walks them: in Python it takes ten times as long.
    """
    asked = [os.fspath(tree) for tree in trees]
    if not asked:
        return {}
    argv = ("du", "-s", "-x", "-B1", "--null", "--", *asked)
    listed = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    rows = (row.partition(b"\t") for row in listed.split(b"\0") if row)
    return {Path(os.fsdecode(path)): int(size) for size, _, path in rows}
