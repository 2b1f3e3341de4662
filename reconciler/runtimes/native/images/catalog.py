"""What images the layout holds, as its documents describe them: looking, and no change but to forget.

Documents are read once and kept: a digest never means anything else.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from reconciler.errors import ConflictError, TerminalError
from reconciler.model.reference import normalize
from reconciler.runtimes.native.images import names
from reconciler.runtimes.native.images.layout import Layout, Stamp
from reconciler.runtimes.native.images.spec import (
    Config,
    Descriptor,
    InvalidImage,
    Manifest,
    chain_ids,
    choose_platform,
    parse_config,
    parse_index,
    parse_manifest,
)
from reconciler.runtimes.native.images.unpack import Layer

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_HEX = re.compile(r"[0-9a-f]{1,64}")
ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), platform.machine())


@dataclass(frozen=True, slots=True)
class Known:
    """An image as its documents describe it. `digest` is what it was listed by: its manifest, or the index of
    several platforms; `chosen` is the manifest for this machine; `parts` are all blobs that the listing names."""

    digest: str
    chosen: Descriptor
    manifest: Manifest
    config: Config
    parts: frozenset[str]

    @property
    def id(self) -> str:
        return self.manifest.config.digest

    @property
    def size_bytes(self) -> int:
        return self.manifest.config.size_bytes + sum(blob.size_bytes for blob in self.manifest.layers)

    def layers(self, layout: Layout) -> tuple[Layer, ...]:
        return tuple(
            Layer(chain_id, layout.blob_path(blob.digest), blob.digest, diff_id)
            for chain_id, blob, diff_id in zip(
                chain_ids(self.config.diff_ids), self.manifest.layers, self.config.diff_ids, strict=True
            )
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """One image with all its names, normalized; none is dangling. `digest` is that of its registry, if it has one."""

    known: Known
    names: tuple[str, ...]
    digest: str


class Catalog:
    """The images of a layout. All methods block, and raise OSError where the disk does."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, Known] = {}
        self._damaged: set[str] = set()
        self._references: tuple[Stamp, Mapping[str, str]] | None = None

    def references(self) -> Mapping[str, str]:
        """Every name, and the id of its image. One stat(2) while nobody changed the layout."""
        stamp = self._layout.stamp()
        if self._references is None or self._references[0] != stamp:
            found: dict[str, str] = {}
            for entry in self._layout.entries():
                name = names.name_of(entry)
                if name and entry.digest not in self._damaged:
                    with contextlib.suppress(InvalidImage):  # then it is as good as not there
                        found[name] = self.read(entry).id
            self._references = (stamp, MappingProxyType(found))
        return self._references[1]

    def images(self) -> Sequence[Listed]:
        """All images, newest first; what cannot be read is left out."""
        found: dict[str, Listed] = {}
        for entry in self._layout.entries():
            with contextlib.suppress(InvalidImage):
                known = self.read(entry)
                seen = found.get(known.id)
                name = names.name_of(entry)
                listed = (*(seen.names if seen else ()), *((name,) if name else ()))
                digest = names.digest_of(entry)
                if seen and digest == entry.digest:
                    digest = seen.digest
                found[known.id] = Listed(seen.known if seen else known, listed, digest)
        return sorted(found.values(), key=lambda image: (-image.known.config.created_at, image.known.id))

    def find(self, reference: str) -> Known | None:
        """The image of a normalized name, of a name with the digest that it has here, or of a whole id.

        Raises: InvalidImage when its documents are damaged.
        """
        entries = self._layout.entries()
        for entry in entries:
            if names.name_of(entry) == reference:
                return self.read(entry)
        if reference.startswith("sha256:"):
            return next((known for known in map(self.read, entries) if known.id == reference), None)
        for entry in entries:
            if names.has_digest(entry, reference):
                return self.read(entry)
        return None

    def look_up(self, asked: str) -> tuple[Listed, str]:
        """The image that a person means, and which of its names that was ("" for an id).

        Raises: TerminalError(reason="NotFound" or "InvalidImageName"), ConflictError(reason="AmbiguousId").
        """
        images = self.images()
        prefix = asked.removeprefix("sha256:")
        wrong = None
        try:
            name = normalize(asked)
        except ValueError as error:
            wrong = error
        else:
            for image in images:
                if name in image.names:
                    return image, name
            for entry in self._layout.entries():
                if names.has_digest(entry, name):
                    id, known_as = self.read(entry).id, names.name_of(entry)
                    return next(image for image in images if image.known.id == id), known_as
        if _HEX.fullmatch(prefix):
            fits = [image for image in images if image.known.id.startswith(f"sha256:{prefix}")]
            if len(fits) == 1:
                return fits[0], ""
            if fits:
                ids = ", ".join(names.short(image.known.id) for image in fits)
                raise ConflictError(f"{asked!r} is the beginning of several ids: {ids}", reason="AmbiguousId")
        elif wrong:
            raise TerminalError(str(wrong), reason="InvalidImageName")
        raise TerminalError(f"image {asked!r} is not in the store", reason="NotFound")

    def entries_of(self, ids: Set[str]) -> list[Descriptor]:
        """The entries of the index that lead to one of these images."""
        found = []
        for entry in self._layout.entries():
            with contextlib.suppress(InvalidImage):
                if self.read(entry).id in ids:
                    found.append(entry)
        return found

    def read(self, entry: Descriptor) -> Known:
        """What an entry of the index means. Raises: InvalidImage."""
        known = self._known.get(entry.digest)
        if known is None:
            chosen, parts = entry, {entry.digest}
            if entry.is_index:
                platforms = parse_index(self._layout.read_document(entry.digest))
                chosen = choose_platform(platforms, ARCHITECTURE)
                for part in platforms:
                    parts |= self._content_of(part)
            manifest = parse_manifest(self._layout.read_document(chosen.digest))
            config = parse_config(self._layout.read_document(manifest.config.digest))
            if len(config.diff_ids) != len(manifest.layers):
                raise InvalidImage(
                    f"the image has {len(manifest.layers)} layers, and its config speaks of {len(config.diff_ids)}"
                )
            parts |= self._content_of(chosen)
            known = self._known[entry.digest] = Known(entry.digest, chosen, manifest, config, frozenset(parts))
        return known

    def _content_of(self, entry: Descriptor) -> set[str]:
        """The digests of a manifest, and of all that it names where it is here: of other platforms it may not be."""
        found = {entry.digest}
        with contextlib.suppress(InvalidImage):
            manifest = parse_manifest(self._layout.read_document(entry.digest))
            found |= {manifest.config.digest, *(blob.digest for blob in manifest.layers)}
        return found

    def needed(self, in_use: Iterable[str]) -> tuple[set[str], set[str]]:
        """The digests of blobs, and the chain ids, that an entry of the index or an image of `in_use` (ids) needs."""
        blobs: set[str] = set()
        chains: set[str] = set()
        for entry in self._layout.entries():
            blobs.add(entry.digest)
            with contextlib.suppress(InvalidImage):
                known = self.read(entry)
                blobs |= known.parts
                chains |= set(chain_ids(known.config.diff_ids))
        for image_id in in_use:
            blobs.add(image_id)
            with contextlib.suppress(InvalidImage):
                chains |= set(chain_ids(parse_config(self._layout.read_document(image_id)).diff_ids))
        return blobs, chains

    def mark_damaged(self, known: Known) -> None:
        """It does not count as there until it was taken again."""
        self._damaged.add(known.digest)
        self._references = None

    def mark_whole(self, known: Known) -> None:
        """It was just taken, all of it: under the same index a damaged one may be whole again."""
        self._damaged.discard(known.digest)
        self._references = None
