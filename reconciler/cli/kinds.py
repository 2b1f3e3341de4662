"""The kinds a user may name, under the names kubectl gives them, and where the API has them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

import click


class Kind(NamedTuple):
    """A kind of the API. `api` is its group version, `plural` its last path segment."""

    kind: str
    plural: str
    api: str = "v1"
    short: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def qualified(self) -> str:
        """As `-o name` prints it: `pod`, `deployment.apps`."""
        return self.singular + self._group

    @property
    def qualified_plural(self) -> str:
        """As errors name it: `pods`, `deployments.apps`."""
        return self.plural + self._group

    @property
    def _group(self) -> str:
        group, slash, _ = self.api.partition("/")
        return f".{group}" if slash else ""

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The API path of one object, or of all: in a namespace, or (None) in every one."""
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace is not None else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name is not None else "")


KINDS = (
    Kind("Pod", "pods", short=("po",)),
    Kind("Deployment", "deployments", "apps/v1", ("deploy",)),
    Kind("ReplicaSet", "replicasets", "apps/v1", ("rs",)),
    Kind("ConfigMap", "configmaps", short=("cm",)),
    Kind("Secret", "secrets"),
    Kind("Namespace", "namespaces", short=("ns",), namespaced=False),
    Kind("Event", "events", short=("ev",)),
)
ALL = ("Pod", "Deployment", "ReplicaSet")  # what `get all` shows

_NAMES = {
    name: kind
    for kind in KINDS
    for name in (kind.singular, kind.plural, *kind.short, kind.qualified, kind.qualified_plural)
}
BY_KIND = {kind.kind: kind for kind in KINDS}


def find_kind(word: str) -> Kind | None:
    """The kind that `word` names: singular, plural or short, in any case."""
    return _NAMES.get(word.lower())


def parse_kinds(words: str) -> list[Kind]:
    """Read `pods`, `deploy,rs` or `all`.

    Raises: click.UsageError with the kinds there are.
    """
    found: list[Kind] = []
    for word in words.split(","):
        if word.lower() == "all":
            found += [BY_KIND[kind] for kind in ALL]
        elif kind := find_kind(word):
            found.append(kind)
        else:
            near = get_close_matches(word.lower(), _NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(f"{k.plural} ({k.short[0]})" if k.short else k.plural for k in KINDS)
            raise click.UsageError(f"no kind is called {word!r}{hint}\nKinds: all, {known}")
    return list(dict.fromkeys(found))


def parse_objects(words: tuple[str, ...]) -> list[tuple[Kind, str | None]]:
    """Read what kubectl takes after `get`: `pods`, `pods a b`, `pod/a deploy/b`, `pods,rs`.

    Returns: kinds, each with a name, or None for all of the kind.
    """
    if any("/" in word for word in words):
        if not all("/" in word for word in words):
            raise click.UsageError("either `KIND NAME...` or `KIND/NAME...`, not both")
        pairs = [word.split("/", 1) for word in words]
        return [(kind, name) for kinds, name in pairs for kind in parse_kinds(kinds)]
    kinds = parse_kinds(words[0])
    if len(words) == 1:
        return [(kind, None) for kind in kinds]
    return [(kind, name) for kind in kinds for name in words[1:]]
