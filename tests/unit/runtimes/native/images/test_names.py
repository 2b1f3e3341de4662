from reconciler.runtimes.native.images.names import give_names, name_of, take_name
from reconciler.runtimes.native.images.spec import OCI_MANIFEST, REF_NAME, Descriptor

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
    assert take_name(before, WEB1, keep=False) == [image("b", WEB2)]
    assert take_name(before, WEB1, keep=True) == [image("b", WEB2), image("a")]


def test_taking_one_of_two_names() -> None:
    before = [image("a", WEB1), image("a", WEB2)]
    assert take_name(before, WEB1, keep=True) == [image("a", WEB2)]
