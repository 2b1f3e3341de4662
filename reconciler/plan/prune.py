"""When a removal is held back, because more likely something is wrong than meant."""

from __future__ import annotations


def held_back(*, tree_is_empty: bool, declared: bool) -> str:
    """Why nothing is pruned although the source declares nothing, or "" when it may be.

    A folder without a single manifest file looks just like a disk that is not mounted
    (docs/adr/0003). One file, even with only a comment in it, says that it is meant.
    """
    if tree_is_empty and declared:
        return (
            "the folder holds no manifest file any more, as if it were not mounted: nothing is removed. "
            "If you mean it, run `reconciler down`, or leave one file there, with only a comment in it"
        )
    return ""


def orphans_held_back(unknown: frozenset[str]) -> str:
    """Why pods that nobody declares are kept, or "" when they may be removed.

    `unknown` are the files of which it is not known what they declare, now or ever before.
    """
    if unknown:
        return (
            f"what {', '.join(sorted(unknown)[:3])} declares is not known: "
            "pods that no other file declares are kept until it is"
        )
    return ""
