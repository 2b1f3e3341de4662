"""Files that break while others are good: what was good stays, the rest converges, and it is said where."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.instance import Instance, pod

BROKEN = "apiVersion: v1\nkind: Pod\nmetadata: {name: kept}\nspec:\n  containerz: []\n"


def errors(one: Instance) -> list[tuple[str, int, str, str]]:
    return [(p["file"], p["line"], p["field"], p["message"]) for p in one.problems() if p["severity"] == "error"]


def test_a_broken_file_among_good_ones(measured: Instance) -> None:
    one = measured
    one.put("good.yaml", pod("good"))
    one.put("broken.yaml", pod("kept"))
    one.until(lambda: one.ready("good") and one.ready("kept"))
    good, kept = one.id("good"), one.id("kept")

    one.put("broken.yaml", BROKEN)
    ((file, line, field, unknown),) = one.until(lambda: errors(one), "the problem")
    one.put("good.yaml", pod("good", "exec sleep 2000000"))
    one.put("new.yaml", pod("new"))
    one.until(lambda: one.ready("new") and one.ready("good") and one.id("good") != good, "the others converge")
    assert one.id("kept") == kept
    assert one.container("kept")["restartCount"] == 0

    assert (file, line, field) == ("broken.yaml", 5, "spec.containerz")
    assert '"containers"' in unknown, "the nearest name"
    assert f"broken.yaml:5: spec.containerz: {unknown}" in one.daemon_log()
    assert one.metric(f'reconciler_manifest_problems{{source="{one.folder}"}}') == 1
    assert one.metric("reconciler_in_sync") == 0
    validated = one.run("validate", str(one.folder))
    assert validated.returncode == 1
    assert f"{one.folder}/broken.yaml:5: spec.containerz: {unknown}" in validated.stdout.splitlines()

    one.stop()
    one.start()
    one.until(lambda: errors(one), "it is shown again")
    one.until(lambda: all(one.ready(name) for name in ("good", "kept", "new")))
    one.steady(lambda: one.id("kept") == kept and one.container("kept")["restartCount"] == 0, 2.5)

    one.put("broken.yaml", pod("kept", "exec sleep 3000000"))
    one.until(lambda: one.ready("kept") and one.id("kept") != kept)
    assert errors(one) == []
    one.until(lambda: one.metric("reconciler_in_sync") == 1)


def test_a_file_that_was_never_good_holds_back_nothing_but_pruning(one: Instance) -> None:
    """Nobody knows what it declares: it may be the file of a pod that runs and that no other file declares."""
    one.put("never.yaml", "kind: [\n")
    one.put("good.yaml", pod("good"))
    one.until(lambda: one.ready("good"))
    one.delete("good.yaml")
    one.until(lambda: not one.pods(), "a file that is gone is gone")
    one.put("good.yaml", pod("good"))
    one.until(lambda: one.ready("good"))
    first = one.id("good")
    one.kill()
    for path in one.state_dir.glob("state.db*"):
        path.unlink()
    one.put("good.yaml", "kind: [\n")
    one.start()
    one.until(lambda: "is not known" in one.daemon_log())
    one.steady(lambda: [row["id"] for row in one.containers()] == [first], 2.5)
    one.put("never.yaml", "# nothing\n")
    one.put("good.yaml", "# nothing\n")
    one.until(lambda: not one.containers())


def test_one_object_in_two_files(one: Instance) -> None:
    one.put("a.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    one.put("b.yaml", pod("web", "exec sleep 5") + "\n---\n" + pod("other"))
    one.until(lambda: len(errors(one)) == 2)
    said = {file: message for file, _, _, message in errors(one)}
    assert "declared in b.yaml:1 too" in said["a.yaml"]
    assert "declared in a.yaml:1 too" in said["b.yaml"]
    one.put("c.yaml", pod("later"))
    one.until(lambda: one.ready("later"))
    assert one.id("web") == first, "who had it keeps it"
    assert "other" not in one.pods(), "a file is taken whole"
    one.delete("a.yaml")
    one.until(lambda: one.ready("web") and one.ready("other") and one.id("web") != first)
    assert errors(one) == []


def test_what_yaml_leaves_open_is_refused_with_both_lines(one: Instance) -> None:
    one.put("keys.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: x\n  l: y\n  k: z\n")
    one.put("twice.yaml", json.dumps(CONFIG_MAP) + "\n---\n" + json.dumps(CONFIG_MAP))
    one.put("kinds.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {}\n---\n" + pod("beside"))
    one.until(lambda: one.ready("beside"), "the other documents of a file with a kind that is not supported yet")
    found = {file: (line, message) for file, line, _, message in errors(one)}
    assert set(found) == {"keys.yaml", "twice.yaml", "kinds.yaml"}
    assert found["keys.yaml"][0] == 8
    assert "line 6" in found["keys.yaml"][1]
    assert found["twice.yaml"][0] == 3
    assert "line 1" in found["twice.yaml"][1]
    assert "not supported yet" in found["kinds.yaml"][1]
    assert "Traceback" not in one.daemon_log()


CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {}}


def test_names_that_are_none(one: Instance) -> None:
    """A name reaches paths, links and cgroups: what is no DNS name is refused, and nothing is made outside."""
    bad = ["..", "../../escape", "a/b", "/etc", "a\u0000b", "a\nb", "\u001b[31mred", "x" * 300, "Upper", "-a"]
    for number, name in enumerate(bad):
        one.put(f"name{number}.yaml", pod(name))
        one.put(f"space{number}.yaml", pod("p").replace('{"name": "p"}', json.dumps({"name": "p", "namespace": name})))
        one.put(f"container{number}.yaml", pod("c", container={"name": name}))
        volume = {"name": name, "emptyDir": {}}
        one.put(f"volume{number}.yaml", pod("v", volumes=[volume]))
        key = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"k{number}"}, "data": {name: "x"}}
        one.put(f"key{number}.yaml", json.dumps(key))
    one.put("good.yaml", pod("good"))
    one.until(lambda: one.ready("good"))
    assert set(one.pods()) == {"good"}
    kinds = ("name", "space", "container", "volume", "key")
    expected = {f"{kind}{number}.yaml" for kind in kinds for number, _ in enumerate(bad)}
    expected -= {f"key{bad.index(name)}.yaml" for name in ("Upper", "-a")}  # which a key may be
    assert {file for file, *_ in errors(one)} == expected
    assert not {"\x1b", "\0"} & set(one.daemon_log()), "control characters of others in the log"
    assert not list(one.base.rglob("escape*"))
    assert {row["pod"] for row in one.containers()} == {"good"}


def test_where_files_lie(one: Instance, tmp_path: Path) -> None:
    """Links that lead in a circle or out of the folder, and names of files that nobody can read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.yaml").write_text(pod("stolen"))
    (one.folder / "below").mkdir()
    (one.folder / "below" / "up").symlink_to("..")
    (one.folder / "self.yaml").symlink_to("self.yaml")
    (one.folder / "out.yaml").symlink_to(outside / "secret.yaml")
    (one.folder / "out").symlink_to(outside)
    (one.folder / "passwd.yaml").symlink_to("/etc/passwd")
    (one.folder / "gone.yaml").symlink_to("nowhere.yaml")
    (one.folder / "new\nline.yaml").write_text(pod("hidden"))
    (one.folder / "folder.yaml").mkdir()
    (one.folder / ".hidden.yaml").write_text(pod("hidden"))
    (one.folder / "backup.yaml~").write_text(pod("hidden"))
    one.put("good.yaml", pod("good"))
    one.until(lambda: one.ready("good"))
    assert set(one.pods()) == {"good"}
    found = {file: message for file, _, _, message in errors(one)}
    assert set(found) == {
        "below/up",
        "self.yaml",
        "out.yaml",
        "out",
        "passwd.yaml",
        "gone.yaml",
        "new\\nline.yaml",
    }
    assert "loop" in found["below/up"]
    assert "loop" in found["self.yaml"]
    assert all("leaves the folder" in found[file] for file in ("out.yaml", "out", "passwd.yaml"))
    assert "root:" not in one.daemon_log(), "nothing of what a link points to is shown"
