"""Label and field selectors."""

from __future__ import annotations

import pytest

from reconciler.api.selectors import Selection, parse_fields, parse_labels

WEB = {"app": "web", "tier": "front", "k8s.io/x": "", "n": "7"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=web", False),
        ("app!=db", True),
        ("gone!=x", True),  # also objects without the key
        ("gone=", False),
        ("k8s.io/x=", True),
        ("k8s.io/x", True),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("gone in (a)", False),
        ("app notin (db)", True),
        ("app notin (web,db)", False),
        ("gone notin (a)", True),
        ("app", True),
        ("gone", False),
        ("!gone", True),
        ("!app", False),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        (" app = web , tier in ( front ) ", True),
        ("n>6", True),
        ("n>7", False),
        ("n<8", True),
        ("app>1", False),  # not a number
        ("gone<1", False),
        ("in=x", False),  # an operator's word may be a key
        ("k8s.io/x in ()", True),  # the empty value
    ],
)
def test_labels(text: str, matches: bool) -> None:
    selection = Selection(labels=parse_labels(text))
    assert selection.matches({"metadata": {"labels": WEB}}) is matches


@pytest.mark.parametrize(
    "text",
    ["=", "a=b,", ",a", "a b", "a in", "a in (", "a in b", "a=b c=d", "!", "!a=b", "a>x", "-a", "a=-", "A/b=c",
     "a/=b", "/a", "a" * 64, "a=" + "b" * 64, "a=b/c", "a=\x01", "a)", "ä=b", "a==!b"],
)  # fmt: skip
def test_labels_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ "):
        parse_labels(text)


POD = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"hostNetwork": True},
    "status": {"phase": "Running", "note": "a,b=c\\d"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=web", True),
        ("metadata.name==web", True),
        ("metadata.name!=web", False),
        ("status.phase=Running,metadata.namespace=default", True),
        ("status.phase=Running,metadata.namespace=other", False),
        ("spec.nodeName=", True),  # absent is empty
        ("spec.nodeName!=", False),
        ("spec.hostNetwork=true", True),
        (r"status.note=a\,b\=c\\d", True),
        (",,", True),
    ],
)
def test_fields(text: str, matches: bool) -> None:
    assert Selection(fields=parse_fields(text)).matches(POD) is matches


@pytest.mark.parametrize("text", ["a", "a,b=c", r"a=b\c", "a=b=c", "a=b\\"])
def test_fields_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="selector"):
        parse_fields(text)


def test_namespace() -> None:
    assert Selection("default").matches(POD)
    assert not Selection("other").matches(POD)
