from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtimes.native.net.names import Names

instances = st.integers(0, 0xFFFFFFFF).map("{:08x}".format)


@given(instance=instances, sandbox_id=st.text("0123456789abcdef-"))
def test_links_fit_the_kernel_and_tell_whose_they_are(instance, sandbox_id) -> None:
    names = Names(instance)
    link = names.link(sandbox_id)
    assert len(link) == 15
    assert link.startswith(names.link_prefix)
    assert link.isalnum()
    assert len(names.bridge) <= 15
    assert not names.bridge.startswith(names.link_prefix)
    assert 0 < names.link_group < 1 << 32


def test_names_are_pinned() -> None:
    """An upgrade must find what an older version made."""
    names = Names("0badcafe")
    assert (names.bridge, names.table) == ("rec-0badcafe", "reconciler_0badcafe")
    assert names.link("") == "r0badcafegt33ue"


def test_many_sandboxes_have_many_links() -> None:
    names = Names("0badcafe")
    assert len({names.link(f"sandbox-{number}") for number in range(2000)}) == 2000
