import pytest

from reconciler.runtimes.native.images.registry import is_loopback


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("127.0.0.1:5000/web:1", True),
        ("127.8.9.1/web:1", True),
        ("localhost/web:1", True),
        ("localhost:5000/web:1", True),
        ("[::1]:5000/web:1", True),
        ("docker.io/library/web:1", False),
        ("10.0.0.1:5000/web:1", False),
        ("localhost.example.com/web:1", False),
        ("127.0.0.1.example.com/web:1", False),
        ("registry/127.0.0.1:1", False),
    ],
)
def test_only_loopback_may_speak_plain_http(reference: str, expected: bool) -> None:
    assert is_loopback(reference) is expected
