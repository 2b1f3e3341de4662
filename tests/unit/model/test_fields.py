"""The models have every field that Kubernetes 1.36 has, and decode as strictly as it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from reconciler.model import kinds
from reconciler.model.meta import Declared, model_within, to_json

FIELDS = (Path(__file__).parent / "kubernetes-1.36-fields.txt").read_text().splitlines()


def every_model() -> Iterator[type[Declared]]:
    waiting, seen = list(kinds.KINDS.values()), set[type[Declared]]()
    while waiting:
        model = waiting.pop()
        if model not in seen:
            seen.add(model)
            yield model
            waiting += filter(None, (model_within(field.annotation) for field in model.model_fields.values()))


def test_every_field_of_the_api_is_there_and_no_other() -> None:
    ours = {m.__name__: " ".join(sorted(str(f.alias) for f in m.model_fields.values())) for m in every_model()}
    theirs = {name: fields.strip() for name, _, fields in (line.partition(":") for line in FIELDS)}
    assert ours == theirs


def filled(model: type[Declared], depth: int = 0) -> dict[str, Any]:
    """A document with every field set to something that is not its default."""
    document = {}
    for field in model.model_fields.values():
        within = model_within(field.annotation)
        if within is not None:
            inside: Any = {} if depth > 12 else filled(within, depth + 1)
            value = [inside] if "tuple" in str(field.annotation) else inside
        else:
            value = scalar(field.annotation, field.default)
        document[str(field.alias)] = value
    return document


def types_in(annotation: Any) -> set[Any]:
    """The plain types in an annotation, containers too."""
    if get_origin(annotation) is Annotated:
        return types_in(get_args(annotation)[0])
    inside = [types_in(each) for each in get_args(annotation) if each is not Ellipsis]
    return {get_origin(annotation) or annotation}.union(*inside)


def scalar(annotation: Any, default: Any) -> Any:
    types = types_in(annotation)
    if Literal in types:
        return next(get_args(each)[-1] for each in (annotation, *get_args(annotation)) if get_origin(each) is Literal)
    if tuple in types:
        return [7] if int in types else ["x"]
    if Mapping in types:
        return {"k": "1001"}  # text, base64 of three bytes, and a quantity in its canonical form
    if bool in types:
        return True
    if int in types and str not in types:
        return 7
    return "7"


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_every_field_survives_the_way_in_and_out(kind: str) -> None:
    model = {name: each for (_, name), each in kinds.KINDS.items()}[kind]
    document = filled(model)
    for times in ("creationTimestamp", "deletionTimestamp"):
        blank(document, times)
    blank(document, "time")
    blank(document, "fieldsV1")
    assert to_json(model.model_validate(document, by_name=False)) == document


def blank(document: Any, key: str) -> None:
    if isinstance(document, dict):
        document.pop(key, None)
        for each in document.values():
            blank(each, key)
    elif isinstance(document, list):
        for each in document:
            blank(each, key)


def limited(**limits: Any) -> dict[str, Any]:
    return {"resources": {"limits": limits}}


def pod(**container: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", **container}]}}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"stdin": "true"}, "bool_type"),
        ({"stdin": 1}, "bool_type"),
        ({"workingDir": 80}, "string_type"),
        ({"workingDir": True}, "string_type"),
        ({"args": [1]}, "string_type"),
        ({"args": "x"}, "tuple_type"),
        ({"ports": [{"containerPort": "80"}]}, "int32"),
        ({"ports": [{"containerPort": True}]}, "int32"),
        ({"ports": [{"containerPort": 80.5}]}, "int32"),
        ({"ports": [{"containerPort": 2**31}]}, "int32"),
        ({"ports": [{"protocol": "tcp"}]}, "literal_error"),
        ({"ports": {"containerPort": 80}}, "tuple_type"),
        ({"resources": {"limits": {"memory": "512mb"}}}, "quantity"),
        ({"resources": {"limits": {"memory": True}}}, "quantity_type"),
        ({"resources": {"limits": {"memory": float("inf")}}}, "quantity_type"),
        ({"livenessProbe": {"httpGet": {"port": 1.5}}}, "int_or_text"),
        ({"image_pull_policy": "Always"}, "extra_forbidden"),
    ],
)
def test_nothing_is_coerced(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kinds.Pod.model_validate(pod(**wrong), by_name=False)
    assert [each["type"] for each in caught.value.errors()] == [error]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"ports": [{"containerPort": 80.0}]}, {"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
        ({"stdin": None, "args": None}, {}),
        ({"args": ["a", None]}, {"args": ["a", ""]}),
        (limited(cpu=0.1, memory=1e9), limited(cpu="100m", memory="1G")),
        (limited(cpu=2, memory=1e21), limited(cpu="2", memory="9223372036854775807")),
        (limited(cpu="0.0001"), limited(cpu="1m")),
        ({"terminationMessagePolicy": "", "imagePullPolicy": ""}, {}),
    ],
)
def test_what_go_decodes_is_decoded(written: dict[str, Any], read: dict[str, Any]) -> None:
    shown = to_json(kinds.Pod.model_validate(pod(**written), by_name=False))["spec"]["containers"][0]
    defaults = {
        "name": "c",
        "image": "i",
        "imagePullPolicy": "Always",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    expected = defaults | read
    assert {key: shown.get(key) for key in expected} == expected
    assert shown.keys() == expected.keys()
