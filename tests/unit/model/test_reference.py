"""Image references follow Docker's rules."""

from __future__ import annotations

import pytest

from reconciler.model.reference import familiar, normalize, pull_policy

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("written", "whole", "short"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
        ("localhost/web", "localhost/web:latest", "localhost/web:latest"),
        ("localhost:5000/web", "localhost:5000/web:latest", "localhost:5000/web:latest"),
        ("[::1]:5000/web:2", "[::1]:5000/web:2", "[::1]:5000/web:2"),
        ("Registry/web", "Registry/web:latest", "Registry/web:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1.27@{DIGEST}", f"docker.io/library/nginx:1.27@{DIGEST}", f"nginx:1.27@{DIGEST}"),
    ],
)
def test_normalize(written: str, whole: str, short: str) -> None:
    assert normalize(written) == whole
    assert normalize(whole) == whole
    assert familiar(whole) == short
    assert normalize(short) == whole


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        (" nginx", "white space"),
        ("Nginx", "lower case"),
        ("nginx:", "tag"),
        ("nginx:a b", "tag"),
        ("nginx:" + "a" * 129, "tag"),
        ("a//b", "single"),
        ("a___b", "single"),
        ("../../etc/passwd", "host name"),
        ("nginx@sha256:abc", "digest"),
        ("nginx@sha256:" + "A" * 64, "lower case hexadecimal"),
        ("a" * 64, "an id"),
        ("exa_mple.com/web", "host name"),
        ("ghcr.io/" + "a" * 300, "255"),
    ],
)
def test_what_is_no_reference_says_why(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        normalize(written)


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        (f"nginx@{DIGEST}", "IfNotPresent"),
        (f"nginx:latest@{DIGEST}", "Always"),
        ("nginx:$TAG", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy
