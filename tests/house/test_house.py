"""The house keeps its own rules: layers, sizes, names, and documents that are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
LONGEST_LINES = 450
VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|misc|shared_code|base)s?$")

SOURCES = sorted((ROOT / "reconciler").rglob("*.py"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_layers_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_too_long() -> None:
    long = {shown(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > LONGEST_LINES}
    assert not long, "each of these is asking to be two"


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [shown(p) for p in SOURCES if VAGUE.search(p.stem) or VAGUE.search(p.parent.name)]
    assert not vague


@pytest.mark.parametrize("path", [pytest.param(p, id=shown(p)) for p in SOURCES if p.read_text().strip()])
def test_a_module_says_why_it_exists(path: Path) -> None:
    assert re.match(r'(#!.*\n)?"""\S', path.read_text()), "the first line is a docstring"


def test_unfinished_business_is_not_committed() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{shown(p)}:{n}" for p in SOURCES for n, line in enumerate(p.read_text().splitlines(), 1) if marks.search(line)
    ]
    assert not found


def test_every_metric_is_documented_and_no_other() -> None:
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in Telemetry().registry.collect()
        if not family.name.startswith(("process_", "python_"))
    }
    documented = set(re.findall(r"^\| `([a-z_]+)`", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE))
    assert documented == names


def test_links_between_the_documents_lead_somewhere() -> None:
    dead = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                dead.append(f"{shown(page)} -> {target}")
    assert not dead
