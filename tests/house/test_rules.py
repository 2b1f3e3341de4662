"""The advice that `build --check` gives is the advice that its page explains."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_rule_is_explained() -> None:
    source = (ROOT / "reconciler/runtimes/native/images/advice.py").read_text()
    given = set(re.findall(r',\s*"(DL\d+|[A-Z]+[a-z]\w+)",', source))
    explained = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/building.md").read_text(), flags=re.MULTILINE))
    assert given == explained
