"""As much of a Dockerfile as we must know before and after buildah runs: which images it
needs, so that our own store can hand them over, and on which line a step stands. Pure.

Source: docs.docker.com/reference/dockerfile, "Format", "Parser directives", "FROM", "ARG".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)")
HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")
_MOUNT_FROM = re.compile(r"--mount=(?:\S*,)?from=([^\s,]+)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `line` is where it begins (from 1), `text` all of it on one line, single spaced."""

    line: int
    keyword: str
    text: str

    @property
    def rest(self) -> str:
        return self.text.partition(" ")[2]


@dataclass(slots=True)
class _Stage:
    name: str
    base: str
    uses: list[str] = field(default_factory=list)


def parse_dockerfile(content: str) -> tuple[Instruction, ...]:
    """The instructions, comments and heredoc bodies left out. Never raises: what is wrong is buildah's to say."""
    return tuple(_instructions(content))


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
    lines = content.removeprefix("\ufeff").splitlines()
    escape = "\\"
    for line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip())
        if not directive:
            break
        if directive[1].lower() == "escape":
            escape = directive[2]
    parts: list[str] = []
    start = 0
    position = 0
    while position < len(lines):
        line = lines[position].strip()
        position += 1
        if not line or line.startswith("#"):
            continue
        if not parts:
            start = position
        if line.endswith(escape):
            parts.append(line[:-1])
            if position < len(lines):
                continue
        else:
            parts.append(line)
        text = " ".join(" ".join(parts).split())
        parts = []
        keyword = text.partition(" ")[0].upper()
        yield Instruction(start, keyword, text)
        if keyword in ("RUN", "COPY", "ADD"):
            for heredoc in HEREDOC.finditer(text):
                while position < len(lines) and lines[position].strip() != heredoc[2]:
                    position += 1
                position += 1


def _stages(instructions: tuple[Instruction, ...], build_args: Mapping[str, str]) -> list[_Stage]:
    stages: list[_Stage] = []
    values: dict[str, str] = {}
    for instruction in instructions:
        rest = instruction.rest
        flags: dict[str, str] = {}
        while flag := _FLAG.match(rest):
            flags[flag[1]] = flag[2] or ""
            rest = rest[flag.end() :]
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
