"""A folder's files to the objects it declares, and never fewer of them because a file broke.

Each file is taken whole or stays at its last good content: while somebody edits one file,
what the others declare goes on, and nothing is removed because something failed to parse.
The result does not depend on the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.manifest.kube import Entry, read_document
from reconciler.manifest.problems import Problem, Severity
from reconciler.manifest.yamldoc import MAX_PROBLEMS, parse
from reconciler.model.kinds import ref_of
from reconciler.model.ref import Ref


@dataclass(frozen=True, slots=True)
class Reading:
    """What a folder declares.

    `last_good` maps every file that counts to the content its objects come from; hand it to
    the next Reader. `unknown` are files and folders that cannot be read and never could by
    this Reader: what they declare is not known, so that nothing may be taken as undeclared
    just because it is not among `objects`.
    """

    objects: Mapping[Ref, Entry]
    problems: tuple[Problem, ...]
    last_good: Mapping[str, bytes] = field(repr=False)
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One content of one file. Not `good` when a problem of it is an error of scope "file"."""

    content: bytes
    entries: Mapping[Ref, Entry]
    problems: tuple[Problem, ...]
    good: bool


class Reader:
    """Reads a folder again and again, and remembers what each file last was when it was good.

    `last_good` is `Reading.last_good` of an earlier process. Only files whose content has changed are parsed.
    """

    def __init__(self, last_good: Mapping[str, bytes] = MappingProxyType({})) -> None:
        self._parsed: dict[str, _Parsed] = {}
        self._good = {file: parsed for file, content in last_good.items() if (parsed := _parse(file, content)).good}
        self._unreadable: dict[str, str] = {}
        self._reading: Reading | None = None

    def read(self, files: Mapping[str, bytes], unreadable: Mapping[str, str] = MappingProxyType({})) -> Reading:
        """What these files declare. `unreadable` maps files and folders that exist, and could not be read, to why."""
        parsed = {file: self._parse(file, content) for file, content in files.items()}
        same = len(parsed) == len(self._parsed) and all(self._parsed.get(file) is p for file, p in parsed.items())
        if self._reading is not None and same and self._unreadable == unreadable:
            return self._reading
        self._parsed, self._unreadable = parsed, dict(unreadable)
        kept = {file: good for file, good in self._good.items() if file in parsed or _covers(unreadable, file)}
        accepted, clashes = _settle({file: p for file, p in parsed.items() if p.good}, kept)
        self._good = accepted
        problems = [problem for p in parsed.values() for problem in p.problems]
        problems += [Problem(path, 0, "", why) for path, why in unreadable.items()]
        self._reading = Reading(
            MappingProxyType({ref: entry for _, p in sorted(accepted.items()) for ref, entry in p.entries.items()}),
            tuple(sorted([*problems, *clashes], key=_order)),
            MappingProxyType({file: p.content for file, p in sorted(accepted.items())}),
            frozenset(
                [file for file in parsed if file not in accepted]
                + [path for path in unreadable if not any(_covers([path], file) for file in accepted)]
            ),
        )
        return self._reading

    def _parse(self, file: str, content: bytes) -> _Parsed:
        for known in (self._parsed.get(file), self._good.get(file)):
            if known is not None and (known.content is content or known.content == content):
                return known
        return _parse(file, content)


def _parse(file: str, content: bytes) -> _Parsed:
    documents, problems = parse(content, file)
    entries: dict[Ref, Entry] = {}
    for document in documents:
        found, wrong = read_document(document)
        problems.extend(wrong)
        for entry in found:
            first = entries.setdefault(ref_of(entry.object), entry)
            if first is not entry:
                message = f"{ref_of(entry.object)} is already declared on line {first.line}; keep one of the two"
                problems.append(Problem(file, entry.line, "", message))
    good = not any(p.severity is Severity.ERROR and p.scope == "file" for p in problems)
    if len(problems) > MAX_PROBLEMS:
        more = f"{len(problems) - MAX_PROBLEMS:,} more problems of this file are not shown; mend these first"
        worst = sorted(problems, key=lambda p: (list(Severity).index(p.severity), p.line))[:MAX_PROBLEMS]
        problems = [*worst, Problem(file, 0, "", more, worst[0].severity, worst[0].scope)]
    return _Parsed(content, entries if good else {}, tuple(problems), good)


def _settle(wanted: Mapping[str, _Parsed], kept: Mapping[str, _Parsed]) -> tuple[dict[str, _Parsed], list[Problem]]:
    """Choose for every file its new content or the one that was last good, so that no object is declared twice.

    Where two files declare one object, the file that has had it keeps it, and the other stays
    as it was; if neither has, both do. As what was kept is free of clashes, going back in
    rounds ends free of clashes too.
    """
    chosen = {**kept, **wanted}
    holders = {ref: file for file, p in sorted(kept.items(), reverse=True) for ref in p.entries}
    clashes: list[Problem] = []
    while True:
        claims: dict[Ref, list[str]] = {}
        for file in sorted(chosen):
            for ref in chosen[file].entries:
                claims.setdefault(ref, []).append(file)
        backed: set[str] = set()
        for ref, claimants in claims.items():
            if len(claimants) > 1:
                holder = holders.get(ref) if holders.get(ref) in claimants else None
                clashes += _clash(ref, {file: chosen[file].entries[ref] for file in claimants}, holder)
                backed |= {file for file in claimants if file != holder and chosen[file] is not kept.get(file)}
        if not backed:
            return chosen, clashes
        for file in backed:
            if file in kept:
                chosen[file] = kept[file]
            else:
                del chosen[file]


def _clash(ref: Ref, entries: Mapping[str, Entry], holder: str | None) -> Iterable[Problem]:
    for file, entry in entries.items():
        others = ", ".join(f"{other}:{e.line}" for other, e in entries.items() if other != file)
        if holder is None:
            message = f"{ref} is declared in {others} too; keep one (none of them is applied)"
        elif file == holder:
            message = f"{ref} is declared in {others} too; keep one (this one stays applied)"
        else:
            message = f"{ref} is declared in {others} too; keep one (the one in {holder} stays applied)"
        yield Problem(file, entry.line, "", message, scope="object" if file == holder else "file")


def _covers(paths: Iterable[str], file: str) -> bool:
    """Whether `file` is one of `paths` or lies under one."""
    return any(path in ("", ".") or file == path or file.startswith(f"{path}/") for path in paths)


def _order(problem: Problem) -> tuple[str, int, str, str]:
    return problem.file, problem.line, problem.field, problem.message
