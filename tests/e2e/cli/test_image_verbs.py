"""Docker's verbs for images against a real daemon with a container that runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.instance import IMAGE, Instance, pod
from tests.images import busybox_archive


def test_images_of_a_daemon_with_a_container(one: Instance, tmp_path: Path) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    one.load(busybox_archive(tmp_path / "spare.tar", "spare:1", files={"own": bytes(3_000_000)}))

    id = json.loads(one.cli("inspect", IMAGE))[0]["Id"]
    one.cli("tag", id[7:19], "web:stable")
    (shown,) = json.loads(one.cli("inspect", "web:stable"))
    assert (shown["Id"], set(shown["RepoTags"])) == (id, {IMAGE, "web:stable"})
    (container,) = json.loads(one.cli("inspect", "web/main"))
    assert (container["State"]["Status"], container["Image"]) == ("running", id)
    assert "layer 0" in one.cli("history", IMAGE)

    # out into a file and in again
    one.cli("save", "-o", str(tmp_path / "saved.tar"), "spare:1")
    one.cli("rmi", "spare:1")
    assert one.run("inspect", "spare:1").returncode == 1
    assert one.cli("load", "-i", str(tmp_path / "saved.tar")).endswith("loaded spare:1\n")

    # untag against delete, and what is in use
    assert one.cli("rmi", "web:stable") == "untagged web:stable\n"
    refused = one.run("rmi", IMAGE)
    assert refused.returncode == 1
    assert "is in use by container main of pod default/web" in refused.stderr

    rows = {row["type"]: row for row in json.loads(one.cli("system", "df", "-o", "json"))}
    assert (rows["Images"]["total"], rows["Images"]["active"]) == (2, 1)
    assert rows["Images"]["reclaimableBytes"] > 3_000_000
    assert rows["Containers"]["sizeBytes"] > 0
    assert json.loads(one.cli("system", "info", "-o", "json"))["containers"]["running"] == 1

    # what no container uses and no manifest names goes; the rest stays, and runs on
    assert "would remove" in one.cli("prune", "-a", "--dry-run")
    pid = one.pid("web")
    assert "removed" in one.cli("prune", "-a", "-f")
    assert [image["references"] for image in json.loads(one.cli("images", "-o", "json"))] == [[IMAGE]]
    assert one.pid("web") == pid
    assert one.cli("exec", "web", "--", "echo", "alive") == "alive\n"
