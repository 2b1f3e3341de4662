"""The example of `make run` does what the README says, built and driven as there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, free_port

ROOT = Path(__file__).parents[3]


def test_the_web_application_answers_follows_and_heals(one: Instance) -> None:
    context = one.base / "context"
    context.mkdir()
    shutil.copy(ROOT / "manifests" / "web" / "image" / "Dockerfile", context)
    shutil.copy(shutil.which("busybox", path=f"{os.environ['PATH']}:/bin") or "busybox", context / "busybox")
    assert "built localhost/web:1" in one.cli("build", "-t", "localhost/web:1", str(context))

    front, back = free_port(), free_port()
    for file in sorted((ROOT / "manifests" / "web").glob("*.yaml")):
        text = file.read_text().replace("hostPort: 8080", f"hostPort: {front}")
        text = text.replace("hostPort: 8081", f"hostPort: {back}").replace('BACK_PORT: "8081"', f'BACK_PORT: "{back}"')
        one.put(file.name, text)

    def page() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{front}/", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    one.until(lambda: "visit 1, counted by back-" in page(), "the front reaches the back")
    assert page().startswith("Hello from a folder of manifests.\nvisit 2, ")
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{back}/", timeout=5)
    except urllib.error.HTTPError as error:
        assert error.code == 403  # it does not know the token
    else:
        raise AssertionError("the back answers anybody")

    def counter() -> dict[str, Any]:
        (row,) = [r for r in one.containers() if r["pod"].startswith("back-") and r["state"] == "running"] or [{}]
        return row

    first = counter()
    os.kill(first["pid"], signal.SIGKILL)
    one.until(lambda: counter().get("id", first["id"]) != first["id"], "the back is started again")
    visits = one.until(lambda: re.search(r"visit (\d+)", page()), "the back answers again")
    assert visits is not None
    assert int(visits[1]) >= 3  # the count outlived the container

    settings = (ROOT / "manifests" / "web" / "settings.yaml").read_text()
    settings = settings.replace('BACK_PORT: "8081"', f'BACK_PORT: "{back}"')
    one.put("settings.yaml", settings.replace("Hello from a folder", "Greetings from a folder"))
    one.until(lambda: page().startswith("Greetings from a folder"), "the new greeting")
