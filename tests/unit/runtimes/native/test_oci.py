"""The runtimes' words, made short."""

from __future__ import annotations

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.runtimes.native.oci import failure, shorten

ABSENT = 'exec: "nosuch": executable file not found in $PATH'


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("executable file `nosuch` not found in $PATH: No such file or directory\n", ABSENT, id="crun"),
        pytest.param("executable file `nosuch` not found: No such file or directory\n", ABSENT, id="crun, short"),
        pytest.param(
            'time="2026-11-23T17:50:58Z" level=error msg="runc create failed: unable to start container process: '
            'exec: \\"nosuch\\": executable file not found in $PATH"\n',
            ABSENT,
            id="runc",
        ),
        pytest.param(
            'time="2026-11-23T17:50:58Z" level=error msg="exec failed: unable to start container process: '
            'exec: \\"nosuch\\": executable file not found in $PATH"\n',
            ABSENT,
            id="runc exec",
        ),
        pytest.param('{"msg":"exec failed: no such user","level":"error"}', "no such user", id="json"),
        pytest.param(
            "warning: x\ncrun: mount `/a` to `/b`: Permission denied\n", "mount `/a` to `/b`: Permission denied"
        ),
        pytest.param("", "the runtime ended without a word", id="silence"),
        pytest.param("x" * 5000, "x" * 1000, id="endless"),
    ],
)
def test_shorten(words: str, expected: str) -> None:
    assert shorten(words) == expected


def test_reasons() -> None:
    full = failure("write: No space left on device", "CreateContainerError")
    assert isinstance(full, TerminalError) and full.reason == "NoSpace"
    busy = failure("fork: Resource temporarily unavailable", "CreateContainerError")
    assert isinstance(busy, TransientError) and busy.reason == "CreateContainerError"
    absent = failure(ABSENT, "RunContainerError")
    assert isinstance(absent, TerminalError) and absent.reason == "RunContainerError"
