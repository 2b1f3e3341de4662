"""Which name means which image: edits of the list in index.json. Pure.

A name is an annotation of an entry, in full ("docker.io/library/web:1"). An image has an entry
for each of its names; one that lost its last name keeps an entry without any (dangling).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from reconciler.errors import ConflictError
from reconciler.model.reference import familiar, normalize
from reconciler.runtimes.native.images.spec import ORIGIN, REF_NAME, Descriptor

Entries = Sequence[Descriptor]


def name_of(entry: Descriptor) -> str:
    """The entry's name, normalized: others who write into the layout may use the short form. "" without one."""
    try:
        return normalize(entry.annotations[REF_NAME])
    except (KeyError, ValueError):
        return ""


def has_digest(entry: Descriptor, reference: str) -> bool:
    """Whether a normalized reference with a digest means this entry: the repository of its name, and its digest
    here or in the registry that it comes from. As docker has it, a tag before the digest does not count."""
    name, _, digest = reference.partition("@")
    return digest in (entry.digest, entry.annotations.get(ORIGIN)) and repository_of(name_of(entry)) == repository_of(
        name
    )


def repository_of(name: str) -> str:
    """A normalized reference without its tag and digest."""
    name = name.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def give_names(entries: Entries, image: Descriptor, names: Iterable[str]) -> list[Descriptor]:
    """`image` gets `names` (normalized); an image that had one of them keeps its others, or dangles."""
    bare = _unnamed(image)
    named = [replace(bare, annotations={**bare.annotations, REF_NAME: name}) for name in dict.fromkeys(names)]
    taken = {name_of(entry) for entry in named}
    kept = [_unnamed(entry) if name_of(entry) in taken else entry for entry in entries]
    return _without_idle([*kept, *(named or [bare])])


def take_names(entries: Entries, names: Iterable[str], *, keep: bool) -> list[Descriptor]:
    """No image has any of `names`. One that had no other dangles when `keep`, and is off the list otherwise."""
    taken = set(names)
    kept = [entry for entry in entries if name_of(entry) not in taken]
    if keep:
        kept += [_unnamed(entry) for entry in entries if name_of(entry) in taken]
    return _without_idle(kept)


def take_images(entries: Entries, digests: Set[str]) -> list[Descriptor]:
    """None of the images with these digests is listed any more."""
    return [entry for entry in entries if entry.digest not in digests]


@dataclass(frozen=True, slots=True)
class Removal:
    """What `rmi` does: the names that go, and whether the image goes with them."""

    names: tuple[str, ...]
    delete: bool


def plan_removal(image_id: str, names: Sequence[str], asked: str, user: str, *, force: bool) -> Removal:
    """What becomes of an image with `names` when `asked` (one of them, or "" for the image itself) is to go.
    `user` says which container uses it, "" for none.

    Raises: ConflictError(reason="ImageInUse" or "SeveralNames").
    Source: moby daemon/images/image_delete.go.
    """
    if asked and len(names) > 1:
        return Removal((asked,), delete=False)
    if not asked and len(names) > 1 and not force:
        shown = ", ".join(familiar(name) for name in sorted(names))
        raise ConflictError(
            f"image {short(image_id)} has several names ({shown}): remove them one by one, or all of them with --force",
            reason="SeveralNames",
        )
    if user and not (force and names):
        hint = "; --force takes its name away, and keeps it as long as that container stays" if names else ""
        raise ConflictError(
            f"image {familiar(asked) if asked else short(image_id)} is in use by {user}{hint}", reason="ImageInUse"
        )
    return Removal(tuple(names), delete=not user)


def short(image_id: str) -> str:
    """An id as tables show it."""
    return image_id.removeprefix("sha256:")[:12]


def _unnamed(entry: Descriptor) -> Descriptor:
    return replace(entry, annotations={k: v for k, v in entry.annotations.items() if k != REF_NAME})


def _without_idle(entries: Entries) -> list[Descriptor]:
    """Drop nameless entries of images that have a name, and all but one of the others."""
    named = {entry.digest for entry in entries if REF_NAME in entry.annotations}
    result: list[Descriptor] = []
    for entry in entries:
        if REF_NAME not in entry.annotations:
            if entry.digest in named:
                continue
            named.add(entry.digest)
        result.append(entry)
    return result


def digest_of(entry: Descriptor) -> str:
    """What the entry's name stands for in its registry; its digest here where none is known."""
    return entry.annotations.get(ORIGIN, entry.digest)
