"""The -o formats of verbs that show objects: json, yaml and name; tables are in `columns`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.kinds import BY_KIND

Json = Mapping[str, Any]


def output_option(*formats: str) -> Callable[[Any], Any]:
    """`-o`, with the formats a verb has."""
    return click.option("-o", "--output", type=click.Choice(formats), help="Instead of a table.")


def render(items: Sequence[Json], output: str, *, single: bool) -> str:
    """Objects as text that ends in a newline. `single` leaves out the List around one object."""
    if output == "name":
        return "".join(f"{name_of(item)}\n" for item in items)
    whole: Any = items[0] if single else {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}}
    return render_json(whole) if output == "json" else render_yaml(whole)


def name_of(item: Json) -> str:
    """As `-o name` prints it: `pod/web`, `deployment.apps/web`."""
    kind = BY_KIND.get(item["kind"])
    return f"{kind.qualified if kind else item['kind'].lower()}/{item['metadata']['name']}"


def render_json(value: Any) -> str:
    return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False) + "\n"


def render_yaml(value: Any) -> str:
    """Block YAML in kubectl's look; what YAML 1.1 or 1.2 would read as no string is quoted."""
    import re

    import yaml

    looks_like_a_number = re.compile(r"[-+.]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0[xo][0-9a-fA-F]+")

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else '"' if looks_like_a_number.fullmatch(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=True, allow_unicode=True, width=1_000_000))
