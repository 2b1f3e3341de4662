"""As much of a Dockerfile as we must know before and after buildah runs: which images it
needs, so that our own store can hand them over, and on which line a step stands. Pure.

Source: docs.docker.com/reference/dockerfile, "Format", "Parser directives", "FROM", "ARG".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)([\"']?)([A-Za-z_]\w*)\2(?=\s|$)")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_IGNORE = re.compile(r"#\s*hadolint\s+ignore\s*=\s*([\w,\s]+)")
_MOUNT_FROM = re.compile(r"--mount=(?:\S*,)?from=([^\s,]+)")
_WITH_FLAGS = ("FROM", "RUN", "COPY", "ADD", "HEALTHCHECK")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `line` is where it begins (from 1), `text` all of it on one line, single spaced,
    `ignores` the rules that a comment above it (`# hadolint ignore=DL3007`) says not to mention."""

    line: int
    keyword: str
    text: str
    ignores: tuple[str, ...] = ()

    @property
    def flags(self) -> Mapping[str, str]:
        """`--name=value`; the last of each name. "" for a flag without a value."""
        return self._split()[0]

    @property
    def operands(self) -> str:
        """What follows the keyword and the flags."""
        return self._split()[1]

    @property
    def heredocs(self) -> Sequence[re.Match[str]]:
        """Where heredocs begin: groups are `-`, a quote, the word that ends it. What is in quotes is none."""
        if self.keyword not in ("RUN", "COPY", "ADD"):
            return ()
        bare = _QUOTED.sub(lambda quoted: quoted[0] if quoted[0][1:-1].isidentifier() else "_", self.text)
        return tuple(_HEREDOC.finditer(bare))

    def _split(self) -> tuple[Mapping[str, str], str]:
        flags: dict[str, str] = {}
        rest = self.text.partition(" ")[2]
        if self.keyword in _WITH_FLAGS:
            while flag := _FLAG.match(rest):
                flags[flag[1]] = flag[2] or ""
                rest = rest[flag.end() :]
        return flags, rest


@dataclass(slots=True)
class _Stage:
    name: str
    base: str
    uses: list[str] = field(default_factory=list)


def parse_dockerfile(content: str) -> tuple[Instruction, ...]:
    """The instructions, comments and heredoc bodies left out. Never raises: what is wrong is buildah's to say."""
    return tuple(_instructions(content))


def directives(content: str) -> Mapping[str, str]:
    """The parser directives (`# escape=`, `# syntax=`, `# check=`) of the first lines, by their names in lower case."""
    found: dict[str, str] = {}
    for line in content.removeprefix("\ufeff").split("\n"):
        directive = _DIRECTIVE.fullmatch(line.strip())
        if not directive or directive[1].lower() in found:
            break
        found[directive[1].lower()] = directive[2]
    return found


def images_needed(
    instructions: tuple[Instruction, ...], build_args: Mapping[str, str], target: str = ""
) -> tuple[str, ...]:
    """The images, as written, that building `target` (default: the last stage) takes from outside the file."""
    stages = _stages(instructions, build_args)
    by_name = {stage.name: stage for stage in stages if stage.name}
    by_name |= {str(number): stage for number, stage in enumerate(stages)}
    pending = [by_name.get(target.lower(), stages[-1])] if stages else []
    needed: dict[str, None] = {}
    visited: list[_Stage] = []
    while pending:
        stage = pending.pop()
        if stage in visited:
            continue
        visited.append(stage)
        before = stages[: stages.index(stage)]
        for name in (stage.base, *stage.uses):
            if (other := by_name.get(name.lower())) in before and other is not None:
                pending.append(other)
            elif name and name.lower() != "scratch":
                needed[name] = None
    return tuple(needed)


def line_of_step(instructions: tuple[Instruction, ...], step: str, stage: int | None = None) -> int | None:
    """The line of a step as buildah shows it ("RUN make all"), in the `stage`th stage (from 1) if that is known."""
    wanted = " ".join(step.split())
    number = 0
    similar: int | None = None
    for instruction in instructions:
        number += instruction.keyword == "FROM"
        if stage is not None and number != stage:
            continue
        if instruction.text == wanted:
            return instruction.line
        if similar is None and instruction.keyword == wanted.partition(" ")[0].upper():
            similar = instruction.line
    return similar


def _instructions(content: str) -> Iterator[Instruction]:
    lines = content.removeprefix("\ufeff").split("\n")
    escape = directives(content).get("escape", "\\")
    parts: list[str] = []
    ignores: list[str] = []
    start = position = 0
    while position < len(lines):
        line = lines[position].strip()
        position += 1
        if not line or line.startswith("#"):
            if ignored := _IGNORE.match(line):
                ignores += (rule.strip() for rule in ignored[1].split(","))
            continue
        start = start if parts else position
        parts.append(line.removesuffix(escape))
        if line.endswith(escape):
            continue
        instruction = _joined(start, parts, ignores)
        parts, ignores = [], []
        yield instruction
        for heredoc in instruction.heredocs:
            end = _end_of_heredoc(lines, position, heredoc)
            position = position if end is None else end + 1
    if parts:
        yield _joined(start, parts, ignores)


def _joined(line: int, parts: Sequence[str], ignores: Sequence[str]) -> Instruction:
    text = " ".join(" ".join(parts).split())
    return Instruction(line, text.partition(" ")[0].upper(), text, tuple(ignores))


def _end_of_heredoc(lines: Sequence[str], position: int, heredoc: re.Match[str]) -> int | None:
    """The line that ends it; None when none does, and it is no heredoc after all."""
    for number in range(position, len(lines)):
        line = lines[number].lstrip("\t") if heredoc[1] else lines[number]
        if line.rstrip("\r") == heredoc[3]:
            return number
    return None


def _stages(instructions: tuple[Instruction, ...], build_args: Mapping[str, str]) -> list[_Stage]:
    stages: list[_Stage] = []
    values: dict[str, str] = {}
    for instruction in instructions:
        rest, flags = instruction.operands, instruction.flags
        match instruction.keyword:
            case "ARG" if not stages:
                for word in rest.split():
                    name, _, default = word.partition("=")
                    values[name] = build_args.get(name, _substitute(default.strip("\"'"), values))
            case "FROM":
                words = rest.split()
                base = _substitute(words[0], values) if words else ""
                named = len(words) == 3 and words[1].upper() == "AS"
                stages.append(_Stage(words[2].lower() if named else "", base))
            case "COPY" if stages and "from" in flags:
                stages[-1].uses.append(flags["from"])
            case "RUN" if stages:
                stages[-1].uses += _MOUNT_FROM.findall(instruction.text)
    return stages


def _substitute(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, operator, word = match[1] or match[2], match[3], match[4] or ""
        found = values.get(name)
        is_set = bool(found) if operator and operator.startswith(":") else found is not None
        if operator and operator.endswith("+"):
            return word if is_set else ""
        if operator and not is_set:
            return word
        return found or ""

    return _VARIABLE.sub(value, text)
