"""What would make a Dockerfile better: warnings with line, reason and the rule's name, never an error. Pure.

The rules are those that people know, under the names they know: DL... are hadolint's, the others the
build checks of BuildKit. Only NoDockerignore is ours. Both ways to silence one work: `# hadolint ignore=DL3007`
above an instruction, `# check=skip=JSONArgsRecommended` at the top.
Source: github.com/hadolint/hadolint, Rules; docs.docker.com/reference/build-checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.manifest.problems import Problem, Severity
from reconciler.runtimes.native.images.dockerfile import Instruction, directives, parse_dockerfile
from reconciler.runtimes.native.images.syntax import find_errors, json_list, split_words

_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)
_ROOT = re.compile(r"(?:root|0)(?::.*)?")
_ROOTLESS = re.compile(r"nonroot|rootless|unprivileged")
_ARCHIVE = re.compile(r"(?:^[a-z+]+://|^git@|\.(?:tar|tgz|tbz2?|txz|gz|bz2|xz|zst)$|\.tar\.)")
_SUDO = re.compile(r"(?:^|[;&|(]\s*|\s)sudo\s")
_APT_INSTALL = re.compile(r"\bapt-get\s+(?:-\S+\s+)*install\b")
_PIP_INSTALL = re.compile(r"\bpip3?\s+(?:-\S+\s+)*install\b")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_GIVEN_ARGS = frozenset(
    f"{side}{part}" for side in ("TARGET", "BUILD") for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
)


@dataclass(frozen=True, slots=True)
class _Stage:
    """FROM, and what follows up to the next one."""

    image: str
    name: str
    instructions: tuple[Instruction, ...]

    def of(self, *keywords: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.keyword in keywords]


_Advice = Iterator[tuple[Instruction, str, str]]  # about which instruction, the rule, what and why


def check_dockerfile(content: str, file: str, *, has_dockerignore: bool) -> tuple[Problem, ...]:
    """The errors of a Dockerfile, else warnings, by line. `field` of a warning is the rule's name. Never raises."""
    instructions = parse_dockerfile(content)
    if errors := find_errors(instructions, file):
        return errors
    skipped = _skipped(content)
    found = [
        Problem(file, instruction.line, rule, message, Severity.WARNING)
        for instruction, rule, message in _advise(instructions, has_dockerignore=has_dockerignore)
        if not {rule, "all"} & skipped and rule not in instruction.ignores
    ]
    return tuple(sorted(found, key=lambda problem: (problem.line, problem.field)))


def _skipped(content: str) -> set[str]:
    """Of `# check=skip=A,B;error=true`."""
    parts = directives(content).get("check", "").split(";")
    return {rule for part in parts if part.startswith("skip=") for rule in part[len("skip=") :].split(",")}


def _advise(instructions: Sequence[Instruction], *, has_dockerignore: bool) -> _Advice:
    stages = _split_stages(instructions)
    yield from _bases(stages, instructions)
    yield from _names(stages)
    yield from _user(stages)
    if not has_dockerignore:
        yield from _whole_context(instructions)
    for stage in stages:
        yield from _only_last_counts(stage)
        yield from _layers(stage)
    for instruction in instructions:
        match instruction.keyword:
            case "ARG" | "ENV":
                yield from _secrets(instruction)
                yield from _old_form(instruction)
            case "LABEL":
                yield from _old_form(instruction)
            case "RUN":
                yield from _commands(instruction)
            case "ADD":
                yield from _add(instruction)
            case "CMD" | "ENTRYPOINT" if instruction.operands and json_list(instruction.operands) is None:
                yield (
                    instruction,
                    "JSONArgsRecommended",
                    (
                        f'{instruction.keyword} ["program", "argument"] runs it without a shell, '
                        "which would not pass signals on: stopping would take its whole grace (hadolint: DL3025)"
                    ),
                )
            case "WORKDIR" if not instruction.operands.strip("\"'").startswith(("/", "$")):
                yield (
                    instruction,
                    "DL3000",
                    "use an absolute WORKDIR: a relative one depends on what the base image set",
                )
            case "MAINTAINER":
                yield (
                    instruction,
                    "MaintainerDeprecated",
                    ("MAINTAINER is deprecated; use LABEL org.opencontainers.image.authors= (hadolint: DL4000)"),
                )


def _split_stages(instructions: Sequence[Instruction]) -> list[_Stage]:
    starts = [number for number, instruction in enumerate(instructions) if instruction.keyword == "FROM"]
    stages = []
    for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
        words = instructions[start].operands.split()
        name = words[2] if len(words) == 3 else ""
        stages.append(_Stage(words[0], name, tuple(instructions[start:end])))
    return stages


def _bases(stages: Sequence[_Stage], instructions: Sequence[Instruction]) -> _Advice:
    """What FROM names: pinned to a tag, and known."""
    given = {
        word.partition("=")[0]
        for instruction in instructions[: instructions.index(stages[0].instructions[0])]
        for word in instruction.operands.split()
    }
    earlier: set[str] = set()
    for stage in stages:
        image, start = stage.image, stage.instructions[0]
        for name in _VARIABLE.findall(image):
            if name not in given | _GIVEN_ARGS:
                yield start, "UndefinedArgInFrom", f"${name} in FROM has no ARG before the first FROM: it is empty here"
        tag = image.rpartition("/")[2].partition(":")[2]
        own = image.lower() in earlier or image.lower() == "scratch" or "$" in image
        if "@" not in image and not own:
            if not tag:
                yield start, "DL3006", f"{image} has no tag: latest is taken, which is another image tomorrow"
            elif tag == "latest":
                yield start, "DL3007", f"{image} is another image tomorrow: name a version"
        earlier |= {stage.name.lower()} - {""}


def _names(stages: Sequence[_Stage]) -> _Advice:
    seen: dict[str, Instruction] = {}
    for stage in stages:
        name, start = stage.name.lower(), stage.instructions[0]
        if name and name in seen:
            yield start, "DuplicateStageName", f"the stage on line {seen[name].line} has the name {stage.name} too"
        seen.setdefault(name, start)


def _user(stages: Sequence[_Stage]) -> _Advice:
    """Only of the image that is kept: what builds may be root. What user somebody else's image sets is not known."""
    why = "whoever breaks out of the program is root in the container"
    stage: _Stage | None = stages[-1]
    while stage:
        if users := stage.of("USER"):
            if _ROOT.fullmatch(users[-1].operands):
                yield users[-1], "DL3002", f"the last USER is root; {why}"
            return
        image = stage.image
        before = stages[: stages.index(stage)]
        stage = next((s for s in reversed(before) if s.name and s.name.lower() == image.lower()), None)
    if not _ROOTLESS.search(image):
        unless = "" if image.lower() == "scratch" else f" unless {image} sets another user"
        yield stages[-1].instructions[0], "DL3002", f"no USER: the program runs as root{unless}; {why}"


def _whole_context(instructions: Sequence[Instruction]) -> _Advice:
    for instruction in instructions:
        if instruction.keyword not in ("COPY", "ADD") or "from" in instruction.flags:
            continue
        sources = (json_list(instruction.operands) or instruction.operands.split())[:-1]
        if any(source in (".", "./", "/", "*", "./*") for source in sources):
            yield (
                instruction,
                "NoDockerignore",
                (
                    f"{instruction.keyword} takes all of the directory and there is no .dockerignore: "
                    ".git, keys and build output end up in the image, and any change runs this step again"
                ),
            )
            return


def _only_last_counts(stage: _Stage) -> _Advice:
    for keyword, rule in (("CMD", "DL4003"), ("ENTRYPOINT", "DL4004"), ("HEALTHCHECK", "DL3012")):
        for instruction in stage.of(keyword)[:-1]:
            yield (
                instruction,
                "MultipleInstructionsDisallowed",
                (f"only the last {keyword} of a stage counts: this one has no effect (hadolint: {rule})"),
            )


def _layers(stage: _Stage) -> _Advice:
    """RUN after RUN. Those with mounts or heredocs are left alone: they are apart for a reason."""
    run: list[Instruction] = []
    for instruction in (*stage.instructions, None):
        if instruction and instruction.keyword == "RUN" and not instruction.flags and not instruction.heredocs:
            run.append(instruction)
            continue
        if len(run) > 1:
            yield (
                run[1],
                "DL3059",
                (
                    f"{len(run)} RUN in a row from line {run[0].line} make {len(run)} layers: join them with &&, "
                    "and what one step deletes is not in the image"
                ),
            )
        run = []


def _secrets(instruction: Instruction) -> _Advice:
    words = split_words(instruction.operands)
    names = [word.partition("=")[0] for word in words]
    if instruction.keyword == "ENV" and "=" not in words[0]:
        names = names[:1]
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            yield (
                instruction,
                "SecretsUsedInArgOrEnv",
                (
                    f"{instruction.keyword} {name} stays readable in the image and its history: "
                    "use RUN --mount=type=secret and build --secret, or set it where the container runs"
                ),
            )


def _old_form(instruction: Instruction) -> _Advice:
    if instruction.keyword != "ARG" and "=" not in split_words(instruction.operands)[0]:
        yield instruction, "LegacyKeyValueFormat", f"write {instruction.keyword} NAME=VALUE; the form without = is old"


def _commands(instruction: Instruction) -> _Advice:
    command = instruction.operands
    mounts = instruction.text.partition(command)[0] if command else instruction.text
    if _SUDO.search(command):
        yield instruction, "DL3004", "sudo changes how the program sees its user and signals: use USER"
    if _APT_INSTALL.search(command):
        if "--no-install-recommends" not in command and "Install-Recommends" not in command:
            yield instruction, "DL3015", "apt-get install without --no-install-recommends takes what nobody asked for"
        if "/var/lib/apt/lists" not in command and "type=cache" not in mounts:
            yield instruction, "DL3009", "the package lists stay in the layer: && rm -rf /var/lib/apt/lists/*"
    if _PIP_INSTALL.search(command) and "--no-cache-dir" not in command and "type=cache" not in mounts:
        yield instruction, "DL3042", "pip keeps its cache in the layer: --no-cache-dir, or a cache mount"


def _add(instruction: Instruction) -> _Advice:
    sources = (json_list(instruction.operands) or instruction.operands.split())[:-1]
    plain = [source for source in sources if not _ARCHIVE.search(source) and not source.startswith(("$", "<<"))]
    if plain:
        yield instruction, "DL3020", f"use COPY for {plain[0]}: ADD would also fetch and unpack"
