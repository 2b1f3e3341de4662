import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtimes.native.images.advice import check_dockerfile

PYTHON = """\
FROM python:3.11-slim

WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY . .

EXPOSE 8000

CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]
"""
NODE = """\
# Build stage
FROM node:18 AS builder
WORKDIR /app
COPY package*.json ./
RUN npm ci
COPY . .
RUN npm run build

# Production stage
FROM nginx:alpine
COPY --from=builder /app/dist /usr/share/nginx/html
EXPOSE 80
"""


def rules(content: str, *, has_dockerignore: bool = True) -> list[str]:
    """`line:rule` of every warning; the user is set, so that only what a case is about is said."""
    found = check_dockerfile(content, "Dockerfile", has_dockerignore=has_dockerignore)
    assert all(problem.severity == "warning" for problem in found), found
    return [f"{problem.line}:{problem.field}" for problem in found]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(PYTHON, ["1:DL3002", "8:NoDockerignore"], id="a service in Python"),
        pytest.param(NODE, ["6:NoDockerignore", "10:DL3002"], id="two stages: only the last one's user counts"),
    ],
)
def test_common_dockerfiles(content: str, expected: list[str]) -> None:
    assert rules(content, has_dockerignore=False) == expected


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        pytest.param("FROM a", ["1:DL3006"], id="no tag"),
        pytest.param("FROM a:latest", ["1:DL3007"], id="latest"),
        pytest.param("FROM host:5000/a", ["1:DL3006"], id="a port is no tag"),
        pytest.param("FROM host:5000/a:1", [], id="a port and a tag"),
        pytest.param("FROM a@sha256:00", [], id="a digest"),
        pytest.param("ARG V=1\nFROM a:$V", [], id="a variable"),
        pytest.param("FROM a:$V", ["1:UndefinedArgInFrom"], id="a variable that nobody gives"),
        pytest.param("FROM --platform=$BUILDPLATFORM a:${TARGETARCH}", [], id="variables that are given"),
        pytest.param("FROM a:1 AS b\nFROM b", [], id="a stage needs no tag"),
        pytest.param("FROM scratch", [], id="scratch"),
        pytest.param("FROM a:1 AS b\nFROM a:2 as B\nFROM b", ["2:DuplicateStageName"], id="a name twice"),
        pytest.param("FROM a:1\nENV DB_PASSWORD=x", ["2:SecretsUsedInArgOrEnv"], id="a secret in ENV"),
        pytest.param("FROM a:1\nARG api_token", ["2:SecretsUsedInArgOrEnv"], id="a secret in ARG"),
        pytest.param("FROM a:1\nENV A=1 SSH_KEY=2", ["2:SecretsUsedInArgOrEnv"], id="the second of a line"),
        pytest.param("FROM a:1\nENV PUBLIC_KEY=x KEYBOARD=us TOKENS=3", [], id="no secrets"),
        pytest.param("FROM a:1\nENV A=password", [], id="a value is no name"),
        pytest.param("FROM a:1\nENV A b\nLABEL c d", ["2:LegacyKeyValueFormat", "3:LegacyKeyValueFormat"], id="old"),
        pytest.param("FROM a:1\nENV A password", ["2:LegacyKeyValueFormat"], id="old: the rest is the value"),
        pytest.param("FROM a:1\nRUN a\nRUN b\nRUN c", ["3:DL3059"], id="RUN in a row, said once"),
        pytest.param("FROM a:1\nRUN a\nCOPY b c\nRUN d", [], id="RUN apart"),
        pytest.param("FROM a:1 AS x\nRUN a\nFROM b:1\nRUN c", [], id="RUN of two stages"),
        pytest.param("FROM a:1\nRUN a\nRUN --mount=type=cache,target=/c b\nRUN c", [], id="RUN with a mount"),
        pytest.param(
            "FROM a:1\nRUN apt-get update && apt-get install -y x", ["2:DL3009", "2:DL3015"], id="apt-get, both"
        ),
        pytest.param(
            "FROM a:1\nRUN apt-get install -y --no-install-recommends x && rm -rf /var/lib/apt/lists/*",
            [],
            id="apt-get",
        ),
        pytest.param(
            "FROM a:1\nRUN --mount=type=cache,target=/var/lib/apt apt-get install --no-install-recommends x",
            [],
            id="apt-get with a cache mount",
        ),
        pytest.param("FROM a:1\nRUN a\nRUN <<E\nb\nE\nRUN c", [], id="RUN with a heredoc"),
        pytest.param("FROM a:1\nRUN pip install x", ["2:DL3042"], id="pip"),
        pytest.param("FROM a:1\nRUN --mount=type=cache,target=/root/.cache pip3 install x", [], id="pip, cache mount"),
        pytest.param("FROM a:1\nRUN x && sudo y", ["2:DL3004"], id="sudo"),
        pytest.param("FROM a:1\nADD a b\nADD x.tar.gz /\nADD https://x.test/y /", ["2:DL3020"], id="ADD"),
        pytest.param("FROM a:1\nCMD node server.js", ["2:JSONArgsRecommended"], id="a shell for the program"),
        pytest.param('FROM a:1\nENTRYPOINT ["node"]\nCMD ["server.js"]', [], id="no shell"),
        pytest.param("FROM a:1\nCMD []\nCMD []", ["2:MultipleInstructionsDisallowed"], id="two CMD"),
        pytest.param("FROM a:1\nWORKDIR app", ["2:DL3000"], id="a relative directory"),
        pytest.param('FROM a:1\nWORKDIR "/app"\nWORKDIR $HOME', [], id="absolute ones"),
        pytest.param("FROM a:1\nMAINTAINER me", ["2:MaintainerDeprecated"], id="MAINTAINER"),
        pytest.param("# hadolint ignore=DL3006,DL3002\nFROM a", [], id="silenced above the instruction"),
        pytest.param("# hadolint ignore=DL3007\nFROM a", ["2:DL3006"], id="another one silenced"),
        pytest.param("# check=skip=DL3006;error=true\nFROM a", [], id="silenced for the file"),
        pytest.param("# check=skip=all\nFROM a\nRUN sudo x", [], id="all silenced"),
    ],
)
def test_rules(instructions: str, expected: list[str]) -> None:
    assert rules(f"{instructions}\nUSER 1\n") == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("FROM a:1\nUSER root\n", ["2:DL3002"], id="root by name"),
        pytest.param("FROM a:1\nUSER 0:0\n", ["2:DL3002"], id="root by number"),
        pytest.param("FROM a:1\nUSER root\nRUN x\nUSER web\n", [], id="root for a while"),
        pytest.param("FROM a:1\n", ["1:DL3002"], id="nobody said"),
        pytest.param("FROM scratch\n", ["1:DL3002"], id="scratch"),
        pytest.param("FROM a:1 AS b\nUSER web\nFROM b\n", [], id="of the stage below"),
        pytest.param("FROM a:1 AS b\nUSER 0\nFROM b\n", ["2:DL3002"], id="root of the stage below"),
        pytest.param("FROM a:1 AS b\nFROM b AS c\nFROM c\n", ["3:DL3002"], id="nobody said, in a chain"),
        pytest.param("FROM distroless/static:nonroot\n", [], id="an image that says so itself"),
    ],
)
def test_users(content: str, expected: list[str]) -> None:
    assert rules(content) == expected


@pytest.mark.parametrize(
    ("copy", "missed"),
    [("COPY . /app", True), ('COPY ["./", "/app"]', True), ("COPY src /app", False), ("COPY --from=b . /", False)],
)
def test_no_dockerignore(copy: str, missed: bool) -> None:
    content = f"FROM a:1 AS b\nFROM a:1\n{copy}\nUSER 1\n"
    assert rules(content, has_dockerignore=False) == (["3:NoDockerignore"] if missed else [])
    assert rules(content) == []


def test_errors_come_alone() -> None:
    found = check_dockerfile("FROM a\nRUM x\n", "Dockerfile", has_dockerignore=False)
    assert [str(problem) for problem in found] == ["Dockerfile:2: RUM is no instruction; did you mean RUN?"]
    assert found[0].severity == "error"


@given(st.lists(st.text(st.sampled_from("abCFROMUNENVAGSLXDK =\"'\\$[]<:/.-"), max_size=30), max_size=6))
def test_any_text_is_checked_without_an_exception(lines: list[str]) -> None:
    check_dockerfile("FROM a:1\n" + "\n".join(f"ENV {line}\nCMD {line}" for line in lines), "f", has_dockerignore=False)
    check_dockerfile("\n".join(lines), "f", has_dockerignore=True)
