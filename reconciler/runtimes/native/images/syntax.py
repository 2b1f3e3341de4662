"""What is no Dockerfile: found before anything runs, all of it at once, each with its line. Pure.

Only what both BuildKit and buildah refuse: buildah names no line for half of these, and falls over an ARG
without a name. Whatever else is wrong is buildah's to say, at the step where it finds it.
Source: docs.docker.com/reference/dockerfile; github.com/moby/buildkit frontend/dockerfile/{parser,instructions}.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence

from reconciler.manifest.problems import Problem
from reconciler.runtimes.native.images.dockerfile import Instruction

_FLAGS = {
    "FROM": {"platform"},
    "RUN": {"mount", "network", "security", "device"},
    "COPY": {"from", "chown", "chmod", "link", "parents", "exclude"},
    "ADD": {"chown", "chmod", "link", "keep-git-dir", "checksum", "exclude", "unpack"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
_NEEDS = {
    "ADD": "a source and a destination",
    "ARG": "a name",
    "COPY": "a source and a destination",
    "ENV": "NAME=VALUE",
    "EXPOSE": "a port",
    "FROM": "an image",
    "HEALTHCHECK": "NONE, or CMD and a command",
    "LABEL": "NAME=VALUE",
    "MAINTAINER": "a name",
    "ONBUILD": "an instruction",
    "RUN": "a command",
    "SHELL": 'a JSON list, such as ["/bin/sh", "-c"]',
    "STOPSIGNAL": "a signal",
    "USER": "a user",
    "VOLUME": "a path",
    "WORKDIR": "a path",
}
_KEYWORDS = {*_NEEDS, "CMD", "ENTRYPOINT"}
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*", re.IGNORECASE)
_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\]|["'\\])+""")


def find_errors(instructions: Sequence[Instruction], file: str) -> tuple[Problem, ...]:
    """What is wrong with the instructions of `file`, in their order; () when a build may begin."""
    found = []
    staged = False
    for instruction in instructions:
        messages = list(_errors(instruction))
        staged = staged or instruction.keyword == "FROM"
        if not staged and not messages and instruction.keyword != "ARG":
            messages = ["comes before FROM; only ARG may"]
            staged = True  # said once
        found += [Problem(file, instruction.line, "", f"{instruction.keyword} {message}") for message in messages]
    if not instructions:
        found.append(Problem(file, 1, "", "no instruction; a Dockerfile begins with FROM and an image"))
    elif not staged and not found:
        found.append(Problem(file, instructions[-1].line, "", "no FROM"))
    return tuple(found)


def split_words(text: str) -> list[str]:
    """`text` at its blanks, those in quotes and behind backslashes left alone. Quotes stay."""
    return _WORD.findall(text)


def json_list(text: str) -> list[str] | None:
    """The exec form: a JSON list of strings; None where `text` is none (then it is for the shell)."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _errors(instruction: Instruction) -> Iterator[str]:
    keyword, operands = instruction.keyword, instruction.operands
    if keyword not in _KEYWORDS:
        near = difflib.get_close_matches(keyword, sorted(_KEYWORDS), n=1)
        yield "is no instruction" + (f"; did you mean {near[0]}?" if near else "")
        return
    for flag in instruction.flags:
        if keyword in _FLAGS and flag not in _FLAGS[keyword]:
            yield f"has no flag --{flag}; it has {', '.join('--' + name for name in sorted(_FLAGS[keyword]))}"
    if keyword in _NEEDS and not operands:
        if not (keyword == "RUN" and "mount" in instruction.flags):
            yield f"needs {_NEEDS[keyword]}"
        return
    match keyword:
        case "FROM":
            yield from _from_errors(operands.split())
        case "COPY" | "ADD":
            if len(json_list(operands) or operands.split()) < 2:
                yield f"needs {_NEEDS[keyword]}; there is only {operands!r}"
        case "ENV" | "LABEL":
            yield from _pair_errors(split_words(operands))
        case "SHELL" if json_list(operands) is None:
            yield f"needs {_NEEDS[keyword]}"
        case "HEALTHCHECK" if operands.split()[0].upper() not in ("NONE", "CMD"):
            yield f"needs {_NEEDS[keyword]}; not {operands.split()[0]!r}"
        case "ONBUILD" if (trigger := operands.split()[0].upper()) in ("ONBUILD", "FROM", "MAINTAINER"):
            yield f"cannot have {trigger}"


def _from_errors(words: Sequence[str]) -> Iterator[str]:
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        yield "needs an image, and at most AS and a name after it"
    elif len(words) == 3 and not _STAGE_NAME.fullmatch(words[2]):
        yield f"has the stage name {words[2]!r}; expected a letter, then letters, digits, - _ and ."


def _pair_errors(words: Sequence[str]) -> Iterator[str]:
    """NAME=VALUE..., or the old form NAME VALUE: the first word decides."""
    if "=" not in words[0]:
        if len(words) == 1:
            yield f"needs NAME=VALUE; {words[0]!r} has no value"
    else:
        for word in words:
            if "=" not in word:
                yield f"needs NAME=VALUE; {word!r} has no ="
            elif word.startswith("="):
                yield f"needs NAME=VALUE; {word!r} has no name"
