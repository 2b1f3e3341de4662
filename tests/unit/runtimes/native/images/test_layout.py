import multiprocessing
import os
from pathlib import Path

import pytest

from reconciler.runtimes.native.images.layout import Layout
from reconciler.runtimes.native.images.spec import OCI_MANIFEST, DamagedBlob, Descriptor


def entry(number: int) -> Descriptor:
    return Descriptor(OCI_MANIFEST, f"sha256:{number:064x}", 1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "images")
    layout.ensure()
    return layout


def test_a_new_layout_is_one_that_others_read(layout: Layout) -> None:
    assert (layout.path / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert layout.entries() == ()
    layout.ensure()
    assert layout.entries() == ()


def test_what_another_process_writes_is_noticed(layout: Layout) -> None:
    other = Layout(layout.path)
    assert layout.entries() == ()
    other.update(lambda before: [*before, entry(1)])
    assert layout.entries() == (entry(1),)


def test_reading_again_reads_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.update(lambda before: [entry(1)])
    first = layout.entries()
    monkeypatch.setattr("builtins.open", None)
    assert layout.entries() is first


def add_many(path: Path, first: int) -> None:
    layout = Layout(path)
    for number in range(first, first + 20):
        layout.update(lambda before, number=number: [*before, entry(number)])  # type: ignore[misc]


def test_processes_that_write_at_once_lose_nothing(layout: Layout) -> None:
    writers = [multiprocessing.Process(target=add_many, args=(layout.path, start)) for start in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = sorted(entry(start + i).digest for start in (0, 100, 200) for i in range(20))
    assert sorted(e.digest for e in layout.entries()) == expected


def test_a_change_that_fails_changes_nothing(layout: Layout) -> None:
    layout.update(lambda before: [entry(1)])

    def fail(before: object) -> list[Descriptor]:
        raise ValueError

    with pytest.raises(ValueError):
        layout.update(fail)
    assert layout.entries() == (entry(1),)
    layout.update(lambda before: [*before, entry(2)])  # and the lock is free
    assert os.listdir(layout.staging) == []


def test_documents_are_verified_and_damaged_ones_removed(layout: Layout) -> None:
    digest = layout.write_document(b"{}")
    assert layout.read_document(digest) == b"{}"
    layout.blob_path(digest).write_bytes(b"[]")
    with pytest.raises(DamagedBlob, match="damaged"):
        layout.read_document(digest)
    with pytest.raises(DamagedBlob, match="missing"):
        layout.read_document(digest)


def test_a_sweep_waits_for_nobody(layout: Layout) -> None:
    with layout.shared_content(), layout.shared_content(), layout.sole_content() as alone:
        assert not alone
    with layout.sole_content() as alone:
        assert alone
