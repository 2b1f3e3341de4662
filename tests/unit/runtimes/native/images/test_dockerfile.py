import pytest

from reconciler.runtimes.native.images.dockerfile import images_needed, line_of_step, parse_dockerfile

MULTI = """\
# syntax=docker/dockerfile:1
ARG VERSION=1.27
ARG BASE=nginx:${VERSION}

FROM node:18 AS builder
RUN npm ci && \\
    # a comment inside
    npm run build
FROM scratch AS unused
COPY --from=registry.example/tool:2 /tool /tool
FROM --platform=$BUILDPLATFORM ${BASE} AS Final
COPY --from=Builder --chown=1:1 /app /app
COPY --from=alpine:3 /etc/os-release /
RUN --mount=type=bind,from=busybox:1,target=/b /b/true
"""


@pytest.mark.parametrize(
    ("content", "args", "target", "expected"),
    [
        pytest.param("FROM a:1\n", {}, "", ("a:1",), id="one"),
        pytest.param("from a:1 as x\nFrom x\n", {}, "", ("a:1",), id="a stage on a stage"),
        pytest.param(MULTI, {}, "", ("nginx:1.27", "alpine:3", "busybox:1", "node:18"), id="multi-stage"),
        pytest.param(MULTI, {"VERSION": "2"}, "final", ("nginx:2", "alpine:3", "busybox:1", "node:18"), id="build arg"),
        pytest.param(MULTI, {}, "builder", ("node:18",), id="target: what comes after is not needed"),
        pytest.param(MULTI, {}, "unused", ("registry.example/tool:2",), id="target that nothing else needs"),
        pytest.param("FROM a AS x\nFROM b\nCOPY --from=0 / /\n", {}, "", ("b", "a"), id="a stage by number"),
        pytest.param("FROM a AS b\nFROM b AS c\nFROM c\n", {}, "", ("a",), id="a chain"),
        pytest.param("FROM later\nFROM x AS later\n", {}, "0", ("later",), id="a name used before its stage"),
        pytest.param("ARG A\nFROM ${A:-d}\n", {}, "", ("d",), id="default of an unset argument"),
        pytest.param("ARG A\nFROM ${A:+e}x\n", {"A": "1"}, "", ("ex",), id="alternative"),
        pytest.param("FROM $NOTHING\n", {}, "", (), id="unknown variable: buildah says what is wrong"),
        pytest.param("FROM a\nRUN <<EOF\nFROM b\nEOF\n", {}, "", ("a",), id="a heredoc is no instruction"),
        pytest.param("# escape=`\nFROM `\n  a\nRUN c:\\\nFROM b AS last\n", {}, "", ("b",), id="another escape"),
        pytest.param("FROM a\n\tCOPY --from=b x y", {}, "", ("a", "b"), id="no newline at the end"),
        pytest.param("\ufeffFROM a\r\nRUN x \\\r\n\r\n y\r\n", {}, "", ("a",), id="BOM, CRLF, blank line inside"),
        pytest.param("", {}, "", (), id="empty"),
        pytest.param("\\\n" * 50, {}, "", (), id="only continuations"),
        pytest.param("FROM", {}, "", (), id="FROM nothing"),
        pytest.param("COPY --from=x a b\nRUN a", {}, "", (), id="no FROM"),
    ],
)
def test_images_needed(content: str, args: dict[str, str], target: str, expected: tuple[str, ...]) -> None:
    assert images_needed(parse_dockerfile(content), args, target) == expected


@pytest.mark.parametrize(
    ("step", "stage", "line"),
    [
        pytest.param("FROM node:18 AS builder", None, 5, id="exact"),
        pytest.param("RUN npm ci &&     npm run build", 1, 6, id="joined lines"),
        pytest.param("COPY --from=alpine:3 /etc/os-release /", 3, 13, id="in its stage"),
        pytest.param("COPY --from=alpine:3 /etc/os-release /", 2, 10, id="else the first of its kind in the stage"),
        pytest.param("RUM ", None, None, id="not there"),
    ],
)
def test_line_of_step(step: str, stage: int | None, line: int | None) -> None:
    assert line_of_step(parse_dockerfile(MULTI), step, stage) == line
