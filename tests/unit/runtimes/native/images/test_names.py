from dataclasses import replace

import pytest

from reconciler.errors import ConflictError
from reconciler.runtimes.native.images.names import (
    Removal,
    give_names,
    has_digest,
    name_of,
    plan_removal,
    repository_of,
    take_images,
    take_names,
)
from reconciler.runtimes.native.images.spec import OCI_MANIFEST, ORIGIN, REF_NAME, Descriptor

WEB1, WEB2 = "docker.io/library/web:1", "docker.io/library/web:2"


def image(letter: str, name: str = "") -> Descriptor:
    return Descriptor(OCI_MANIFEST, f"sha256:{letter * 64}", 1, {REF_NAME: name} if name else {})


def test_names_of_other_writers_are_normalized() -> None:
    assert name_of(image("a", "web:1")) == WEB1
    assert name_of(image("a", "web:!!")) == ""
    assert name_of(image("a")) == ""


def test_a_new_image_takes_the_name_and_the_old_one_dangles() -> None:
    assert give_names([image("a", WEB1)], image("b"), [WEB1]) == [image("a"), image("b", WEB1)]


def test_the_old_image_keeps_its_other_names() -> None:
    before = [image("a", WEB1), image("a", WEB2)]
    assert give_names(before, image("b"), [WEB1]) == [image("a", WEB2), image("b", WEB1)]


def test_a_dangling_image_gets_a_name_again() -> None:
    assert give_names([image("a")], image("a"), [WEB1]) == [image("a", WEB1)]


def test_the_same_again_changes_nothing() -> None:
    assert give_names([image("a", WEB1)], image("a"), [WEB1]) == [image("a", WEB1)]
    assert give_names([image("a")], image("a"), []) == [image("a")]


def test_a_foreign_spelling_of_the_name_is_replaced() -> None:
    assert give_names([image("a", "web:1")], image("b"), [WEB1]) == [image("a"), image("b", WEB1)]


def test_an_image_without_a_name_is_listed() -> None:
    assert give_names([], image("a", "latest"), []) == [image("a")]


def test_taking_the_last_name() -> None:
    before = [image("a", WEB1), image("b", WEB2)]
    assert take_names(before, [WEB1], keep=False) == [image("b", WEB2)]
    assert take_names(before, [WEB1], keep=True) == [image("b", WEB2), image("a")]


def test_taking_one_of_two_names() -> None:
    before = [image("a", WEB1), image("a", WEB2)]
    assert take_names(before, [WEB1], keep=True) == [image("a", WEB2)]


ID = "sha256:" + "1234567890ab" * 5 + "1234"


@pytest.mark.parametrize(
    ("names", "asked", "user", "force", "expected"),
    [
        pytest.param([WEB1], WEB1, "", False, Removal((WEB1,), delete=True), id="the last name"),
        pytest.param([WEB1, WEB2], WEB1, "", False, Removal((WEB1,), delete=False), id="one of two"),
        pytest.param([WEB1, WEB2], WEB1, "pod x", False, Removal((WEB1,), delete=False), id="one of two, in use"),
        pytest.param([WEB1, WEB2], WEB1, "", True, Removal((WEB1,), delete=False), id="one of two, forced"),
        pytest.param([WEB1], "", "", False, Removal((WEB1,), delete=True), id="by id"),
        pytest.param([], "", "", False, Removal((), delete=True), id="dangling"),
        pytest.param([WEB1, WEB2], "", "", True, Removal((WEB1, WEB2), delete=True), id="by id, all names"),
        pytest.param([WEB1], WEB1, "pod x", True, Removal((WEB1,), delete=False), id="in use, forced: untagged"),
        pytest.param([WEB1, WEB2], "", "pod x", True, Removal((WEB1, WEB2), delete=False), id="by id, in use, forced"),
    ],
)
def test_untag_against_delete(names: list[str], asked: str, user: str, force: bool, expected: Removal) -> None:
    assert plan_removal(ID, names, asked, user, force=force) == expected


@pytest.mark.parametrize(
    ("names", "asked", "user", "force", "message"),
    [
        ([WEB1], WEB1, "pod x", False, "image web:1 is in use by pod x; --force takes its name away"),
        ([WEB1], "", "pod x", False, "image 1234567890ab is in use by pod x; --force takes its name away"),
        ([], "", "pod x", True, "image 1234567890ab is in use by pod x"),
        ([WEB2, WEB1], "", "", False, r"image 1234567890ab has several names \(web:1, web:2\): remove them one by one"),
    ],
)
def test_what_is_refused(names: list[str], asked: str, user: str, force: bool, message: str) -> None:
    with pytest.raises(ConflictError, match=message):
        plan_removal(ID, names, asked, user, force=force)


def test_images_go_with_all_their_names() -> None:
    before = [image("a", WEB1), image("b"), image("a", WEB2)]
    assert take_images(before, {image("a").digest}) == [image("b")]


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        (WEB1, "docker.io/library/web"),
        ("localhost:5000/web", "localhost:5000/web"),
        ("localhost:5000/web:1@sha256:0", "localhost:5000/web"),
    ],
)
def test_repositories(name: str, repository: str) -> None:
    assert repository_of(name) == repository


def test_a_reference_by_digest_means_its_repository_whatever_its_tag() -> None:
    digest = image("a").digest
    assert has_digest(image("a", WEB1), f"docker.io/library/web@{digest}")
    assert has_digest(image("a", WEB1), f"docker.io/library/web:9@{digest}")
    pulled = replace(image("b", WEB1), annotations={REF_NAME: WEB1, ORIGIN: digest})  # the index that named it
    assert has_digest(pulled, f"docker.io/library/web@{digest}")
    assert not has_digest(image("a", WEB1), f"docker.io/library/api@{digest}")
    assert not has_digest(image("b", WEB1), f"docker.io/library/web@{digest}")
    assert not has_digest(image("a"), WEB1)
