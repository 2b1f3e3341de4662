"""A folder that is suddenly empty, or not mounted: nothing is pruned before somebody says that it is meant."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.api.client import OWN
from tests.e2e.instance import Instance, pod


@contextmanager
def mounted(where: Path, *command: str) -> Iterator[None]:
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run([*command, str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


def test_an_emptied_folder_prunes_nothing_until_it_is_meant(measured: Instance) -> None:
    one = measured
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first, pid = one.id("web"), one.pid("web")

    def goes_on() -> bool:
        return [(row["id"], row.get("pid")) for row in one.containers()] == [(first, pid)]

    one.delete("web.yaml")
    one.until(lambda: one.metric("reconciler_prune_blocked") == 1)
    assert one.metric("reconciler_in_sync") == 0
    assert "no manifest file" in one.api.get(f"{OWN}/status")["pruneBlocked"]
    assert "reconciler down" in one.events("default")["PruneBlocked"], "how to mean it"
    assert one.daemon_log().count("no manifest file") == 1
    one.steady(goes_on, 2.5)
    one.kill()
    one.start()
    one.until(lambda: one.metric("reconciler_prune_blocked") == 1)
    one.steady(goes_on, 2.5)
    assert one.ready("web")
    one.put("meant.yaml", "# nothing runs here\n")
    one.until(lambda: not one.pods())
    assert one.containers() == []
    one.until(lambda: one.metric("reconciler_in_sync") == 1)
    assert one.metric("reconciler_prune_blocked") == 0


def test_a_folder_that_is_not_mounted_prunes_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "mount", "-t", "tmpfs", "none"):
        one = Instance(tmp_path / "one", metrics=True)
        with one:
            with mounted(one.folder, "mount", "--bind", str(disk)):
                one.put("web.yaml", pod("web"))
                one.until(lambda: one.ready("web"))
                first, pid = one.id("web"), one.pid("web")

            def goes_on() -> bool:
                return [(row["id"], row.get("pid")) for row in one.containers()] == [(first, pid)]

            one.until(lambda: "mount it again" in one.daemon_log())
            one.until(lambda: one.metric("reconciler_in_sync") == 0)
            one.steady(goes_on, 2.5)
            one.kill()
            one.start()
            one.until(lambda: one.metric("reconciler_prune_blocked") == 1, "an empty folder, after a start")
            one.steady(goes_on, 2.5)
            with mounted(one.folder, "mount", "--bind", str(disk)):
                one.until(lambda: one.metric("reconciler_in_sync") == 1, "mounted again")
                assert goes_on()
                one.put("web.yaml", pod("web", "exec sleep 5000000"))
                one.until(lambda: one.ready("web") and one.id("web") != first, "followed again")
