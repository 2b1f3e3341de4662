"""Which images go: by hand (`prune`), and by themselves when the disk fills. Pure.

Images share what they are made of, so what a removal frees is counted by parts: a part is
free when no image that stays has it.
Source: k8s.io/kubernetes pkg/kubelet/images/image_gc_manager.go (85 % down to 80 %, 2 min).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

HIGH_PERCENT = 85
LOW_PERCENT = 80
MIN_AGE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image on disk. `names` are normalized references, none is dangling; `digest` is what a reference by
    digest says; `parts` maps the blobs and unpacked layers that it needs to their size in bytes on disk."""

    id: str
    names: tuple[str, ...]
    digest: str
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Disk:
    """The filesystem that holds the images."""

    capacity_bytes: int
    available_bytes: int

    @property
    def used_percent(self) -> int:
        return 100 - self.available_bytes * 100 // self.capacity_bytes if self.capacity_bytes else 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is remembered of an image between two looks, in seconds since the epoch."""

    first_seen_at: float
    last_used_at: float = 0.0

    @property
    def idle_since(self) -> float:
        return max(self.first_seen_at, self.last_used_at)


@dataclass(frozen=True, slots=True)
class Garbage:
    """What to remove: ids of images in the order in which they go, and how many bytes of disk that frees.
    `wanted_bytes` is how much should become free; when it is more, too little can go."""

    remove: tuple[str, ...] = ()
    freed_bytes: int = 0
    wanted_bytes: int = 0


def remember(
    before: Mapping[str, Sighting], images: Iterable[str], in_use: Set[str], now: float
) -> dict[str, Sighting]:
    """What is known of `images` (ids) after a look at `now`; those that are gone are forgotten."""
    after: dict[str, Sighting] = {}
    for id in images:
        seen = before.get(id) or Sighting(now)
        after[id] = Sighting(seen.first_seen_at, now) if id in in_use else seen
    return after


def plan_garbage(
    images: Sequence[StoredImage],
    *,
    in_use: Set[str],
    named: Set[str],
    disk: Disk,
    sightings: Mapping[str, Sighting],
    now: float,
) -> Garbage:
    """What must go because the disk is fuller than HIGH_PERCENT: the longest unused first, down to LOW_PERCENT.

    Never an image of `in_use` (ids), one that `named` (normalized references) means, or one that was seen first or
    used last within MIN_AGE_SECONDS before `now`. The order of `images` does not matter.
    """
    if disk.used_percent < HIGH_PERCENT:
        return Garbage()
    wanted = disk.capacity_bytes * (100 - LOW_PERCENT) // 100 - disk.available_bytes

    def idle_since(image: StoredImage) -> float:
        seen = sightings.get(image.id)
        return seen.idle_since if seen else now

    idle = [image for image in _free(images, in_use, named) if now - idle_since(image) >= MIN_AGE_SECONDS]
    idle.sort(key=lambda image: (idle_since(image), image.id))
    return _take(images, idle, wanted)


def unused(images: Sequence[StoredImage], *, in_use: Set[str], named: Set[str], every: bool) -> Garbage:
    """What `prune` removes: dangling images, and with `every` all that no container uses and no manifest names."""
    idle = [image for image in _free(images, in_use, named) if every or not image.names]
    return _take(images, sorted(idle, key=lambda image: image.id), None)


def total_bytes(images: Iterable[StoredImage]) -> int:
    """What `images` take together: what they share counts once."""
    parts: dict[str, int] = {}
    for image in images:
        parts |= image.parts
    return sum(parts.values())


def _free(images: Iterable[StoredImage], in_use: Set[str], named: Set[str]) -> list[StoredImage]:
    digests = {name.partition("@")[2] for name in named}
    return [
        image
        for image in images
        if image.id not in in_use and named.isdisjoint(image.names) and image.digest not in digests
    ]


def _take(images: Iterable[StoredImage], idle: Iterable[StoredImage], wanted: int | None) -> Garbage:
    """As many of `idle` as it takes to free `wanted` bytes; None takes all."""
    needed = Counter(part for image in images for part in image.parts)
    taken: list[str] = []
    freed = 0
    for image in idle:
        if wanted is not None and freed >= wanted:
            break
        taken.append(image.id)
        for part, size in image.parts.items():
            needed[part] -= 1
            if not needed[part]:
                freed += size
    return Garbage(tuple(taken), freed, wanted or 0)
