"""kill -9 at any moment: containers go on, nothing is restarted that need not be, nothing is left over."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, deployment, pod


def test_containers_outlive_the_daemon_and_are_found_again(one: Instance) -> None:
    one.put("web.yaml", deployment("web", 2))
    one.put("one.yaml", pod("one"))
    one.until(lambda: len(one.pods()) == 3 and all(one.ready(name) for name in one.pods()))
    before = {row["id"]: row["pid"] for row in one.containers()}
    addresses = {name: item["status"]["podIP"] for name, item in one.pods().items()}
    one.kill()
    assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
    one.start()
    one.steady(lambda: {row["id"]: row["pid"] for row in one.containers()} == before, 3)
    assert {name: item["status"]["podIP"] for name, item in one.pods().items()} == addresses
    assert all(item["status"]["containerStatuses"][0]["restartCount"] == 0 for item in one.pods().values())


def test_what_happened_while_no_daemon_ran_is_made_up_for(one: Instance) -> None:
    for name in ("gone", "changed", "crashed", "kept"):
        one.put(f"{name}.yaml", pod(name))
    one.until(lambda: len(one.pods()) == 4 and all(one.ready(name) for name in one.pods()))
    kept, crashed = one.id("kept"), one.pid("crashed")
    one.kill()
    one.delete("gone.yaml")
    one.put("changed.yaml", pod("changed", "exec sleep 5000000"))
    one.put("new.yaml", pod("new"))
    os.kill(crashed, signal.SIGKILL)
    one.start()
    one.until(lambda: set(one.pods()) == {"changed", "crashed", "kept", "new"})
    one.until(lambda: all(one.ready(name) for name in one.pods()))
    assert one.id("kept") == kept
    assert one.container("crashed")["restartCount"] == 1
    assert one.container("crashed")["lastState"]["terminated"]["exitCode"] == 137
    assert one.container("changed")["restartCount"] in (0, 1)


def test_losing_state_db_loses_history_only(one: Instance) -> None:
    one.put("web.yaml", deployment("web", 2))
    one.until(lambda: len(one.pods()) == 2 and all(one.ready(name) for name in one.pods()))
    before = {row["id"] for row in one.containers()}
    one.kill()
    for path in one.state_dir.glob("state.db*"):
        path.unlink()
    one.start()
    one.until(lambda: len(one.pods()) == 2 and all(one.ready(name) for name in one.pods()))
    one.steady(lambda: {row["id"] for row in one.containers()} == before, 3)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments(one: Instance, seed: int) -> None:
    """Change the folder, kill the daemon somewhere in the middle of following, start it again; six times over.
    In the end the world is what the folder says, and the fixture finds nothing left over."""
    choice = random.Random(seed)
    one.put("keep.yaml", "# nothing\n")
    wanted: dict[str, str] = {}
    for round_number in range(6):
        for name in choice.sample(["a", "b", "c", "d"], k=3):
            file = f"{name}.yaml"
            if name in wanted and choice.random() < 0.4:
                del wanted[name]
                one.delete(file)
            else:
                wanted[name] = f"exec sleep {1000000 + round_number}"
                one.put(file, pod(name, wanted[name], volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]))
        time.sleep(choice.random() * 0.4)
        one.kill()
        one.start()
    one.until(lambda: set(one.pods()) == set(wanted) and all(one.ready(name) for name in wanted), seconds=40)
    for name, command in wanted.items():
        assert one.pods()[name]["spec"]["containers"][0]["command"][2] == command
        runs = Path(f"/proc/{one.pid(name)}/cmdline").read_bytes().split(b"\0")
        assert b" ".join(runs).decode().strip() == command.removeprefix("exec ")
    one.until(lambda: len(one.containers()) == len(wanted), "no container too many")
    kept = {one.id(name) for name in wanted}
    assert {path.name for path in (one.state_dir / "containers").iterdir()} == kept
    assert len(list((one.run_dir / "netns").iterdir())) == len(wanted)
    assert len(json.loads(one.cli("get", "pods", "-o", "json"))["items"]) == len(wanted)
