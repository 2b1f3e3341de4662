"""`reconciler validate`: its lines, its JSON and its exit codes; no daemon, no root."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: good\n"
TYPO = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: typo\n  lables: {}\n"
SYNTAX = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: tab\n"
NOTED = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeName: x, containers: [{name: c, image: i}]}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "folder/sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "folder"


def test_a_good_folder_says_so_and_ends_with_0(run, folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    result = run("validate", "folder")
    assert (result.code, result.out, result.err) == (0, "", "1 file, 1 object: no problems\n")


def test_every_problem_of_every_file_has_a_line(run, folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    (folder / "b.yml").write_text(TYPO)
    (folder / "sub/c.json").write_text(SYNTAX)
    (folder / "sub/out").symlink_to("/etc")
    (folder / ".hidden.yaml").write_text("{")
    result = run("validate", "folder/")
    first, second, third = result.out.splitlines()
    assert first.startswith("folder/b.yml:5: metadata.lables: ")
    assert second == "folder/sub/c.json:4: a tab cannot indent; use spaces"
    assert third.startswith("folder/sub/out: this symlink leaves the folder")
    assert (result.code, result.err) == (1, "4 files, 1 object: 3 errors\n")


def test_one_object_twice_in_a_folder_is_an_error_and_in_two_paths_is_none(run, folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    (folder / "sub/b.yaml").write_text(GOOD)
    result = run("validate", "folder")
    assert result.code == 1
    assert [line.split(" ")[0] for line in result.out.splitlines()] == ["folder/a.yaml:1:", "folder/sub/b.yaml:1:"]
    assert run("validate", "folder/a.yaml", "folder/sub/b.yaml").code == 0


def test_what_is_no_error_says_what_it_is_and_does_not_count(run, folder: Path) -> None:
    (folder / "a.yaml").write_text(NOTED)
    result = run("validate", "folder/a.yaml")
    assert result.code == 0
    assert result.out.startswith("folder/a.yaml:4: spec.nodeName: note: ")
    assert result.err == "1 file, 1 object: 1 note\n"


def test_json_has_every_file_its_objects_and_its_problems(run, folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    (folder / "b.yaml").write_text(SYNTAX)
    result = run("validate", "-o", "json", "folder", "folder/b.yaml")
    assert (result.code, result.err) == (1, "")
    tab = {"line": 4, "field": "", "message": "a tab cannot indent; use spaces", "severity": "error"}
    assert json.loads(result.out) == [
        {
            "file": "folder/a.yaml",
            "objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "good", "namespace": "default"}}
            ],
            "problems": [],
        },
        {"file": "folder/b.yaml", "objects": [], "problems": [tab]},
        {"file": "folder/b.yaml", "objects": [], "problems": [tab]},
    ]


def test_a_file_of_any_name_and_stdin(run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "manifest.txt").write_text(GOOD)
    assert run("validate", "folder/manifest.txt").code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((GOOD + "---\n" + SYNTAX).encode())))
    result = run("validate", "-")
    assert (result.code, result.out) == (1, "-:9: a tab cannot indent; use spaces\n")


def test_stdin_without_an_end_is_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero", "rb") as zeros:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(zeros.raw)))
        assert "10 MB is too big" in run("validate", "-").out.replace("10.0", "10")


def test_usage(run, folder: Path) -> None:
    missing = run("validate", "nowhere")
    assert (missing.code, missing.err.splitlines()[0]) == (
        2,
        "Error: Invalid value for 'PATH...': Path 'nowhere' does not exist",
    )
    assert run("validate").code == 2
    assert run("validate", "-o", "yaml", "folder").code == 2


def test_a_folder_without_manifests_says_so(run, folder: Path) -> None:
    (folder / "a.yml.bak").write_text(GOOD)
    result = run("validate", "folder")
    assert (result.code, result.err) == (0, "no manifests: no file here ends in .yaml, .yml or .json\n")


def test_it_needs_neither_root_nor_the_engine(folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    code = (
        "import sys; from reconciler.cli import main; sys.argv = ['reconciler', 'validate', 'folder']\n"
        "try: main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, [m for m in ('pyroute2', 'aiohttp', 'reconciler.daemon') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PATH": ""}
    )
    assert ran.stdout == "0 []\n"
