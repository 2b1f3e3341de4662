"""Images: pulled, built and unpacked, beside docker, podman and tar in the same run.

The image is made on the spot of this machine's own files. Whoever is measured has an empty store
before every pull; the subjects take turns, so that a busy moment of the machine hits all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import shutil
import stat
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from rich.console import Console

from reconciler.runtimes.native.images.unpack import Layer, LayerStore
from tests.bench.ours import IMAGE, Ours
from tests.bench.peers import Unavailable, dockerd, run
from tests.bench.stamps import Stamps
from tests.bench.table import Row
from tests.e2e.registry import serving
from tests.images import docker_archive

# what a base, its packages and an application take, in MB: 150 in all
LAYERS_MEGABYTES = (75, 40, 20, 10, 5)
SOURCES = (Path("/usr/bin"), Path("/usr/lib"), Path("/usr/share"))
_MAX_FILE_BYTES = 8_000_000  # one large file is easier than many small ones, and says less
ROUNDS = 3
BUILT = "localhost/bench-built:1"
DOCKERFILE = f"""\
FROM {IMAGE}
WORKDIR /srv
COPY app/ ./
RUN mkdir -p www && /bin/busybox sha256sum *.txt > www/index.txt
ENV PORT=8080
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/srv/www"]
"""


class Subject(Protocol):
    """Something that has images. What is forgotten leaves its store as it was before."""

    def running(self, archive: Path) -> AbstractContextManager[None]: ...
    def pull(self, reference: str) -> None: ...
    def build(self, context: Path) -> None: ...
    def forget_pulled(self, reference: str) -> None: ...
    def forget_built(self) -> None: ...


class OurImages:
    """`reconciler pull` and `build`, which a daemon carries out."""

    def __init__(self, work: Path) -> None:
        self._ours = Ours(work, Stamps(work / "stamps"))
        self._layers = work / "state" / "layers"

    def running(self, archive: Path) -> AbstractContextManager[None]:
        return self._ours.running(archive)

    def pull(self, reference: str) -> None:
        before = self._unpacked()
        self._ours.verb("pull", "--quiet", reference)
        if len(self._unpacked() - before) != len(LAYERS_MEGABYTES):
            raise RuntimeError("not all layers were fetched: the store was not empty")

    def build(self, context: Path) -> None:
        self._ours.verb("build", "--quiet", "-t", BUILT, str(context))

    def forget_pulled(self, reference: str) -> None:
        self._ours.verb("rmi", reference)

    def forget_built(self) -> None:
        self._ours.verb("rmi", BUILT)
        self._ours.verb("system", "prune", "--force")

    def _unpacked(self) -> set[str]:
        return {path.name for path in self._layers.iterdir() if not path.name.startswith(".")}


class Docker:
    """`docker pull` and `docker build`, on a dockerd of its own."""

    def __init__(self, work: Path) -> None:
        if not shutil.which("dockerd") or not shutil.which("docker"):
            raise Unavailable("docker is not installed")
        self._work = work
        self._environment: Mapping[str, str] = {}
        work.mkdir(parents=True)

    @contextlib.contextmanager
    def running(self, archive: Path) -> Iterator[None]:
        # in the host's network, where the registry is, and without touching it
        alone = ("unshare", "--mount", "--")
        quiet = ("--bridge=none", "--iptables=false", "--ip6tables=false")
        with dockerd(self._work, alone, *quiet) as self._environment:
            self._run("import", str(archive), IMAGE)
            yield

    def pull(self, reference: str) -> None:
        self._run("pull", "--quiet", reference)

    def build(self, context: Path) -> None:
        self._run("build", "--quiet", "--network=host", "-t", BUILT, str(context))

    def forget_pulled(self, reference: str) -> None:
        self._run("rmi", "--force", reference)

    def forget_built(self) -> None:
        self._run("rmi", "--force", BUILT)
        self._run("builder", "prune", "--all", "--force")

    def _run(self, *arguments: str) -> None:
        run(["docker", *arguments], env=self._environment)


class Podman:
    """`podman pull` and `podman build`, with a storage of its own."""

    def __init__(self, work: Path) -> None:
        if not shutil.which("podman"):
            raise Unavailable("podman is not installed")
        self._places = [f"--root={work}/root", f"--runroot={work}/run", f"--tmpdir={work}/tmp"]
        self._work = work
        work.mkdir(parents=True)

    @contextlib.contextmanager
    def running(self, archive: Path) -> Iterator[None]:
        try:
            self._run("import", str(archive), IMAGE)
            yield
        finally:
            reset = ["unshare", "--mount", "--", "podman", *self._places, "system", "reset", "--force"]
            subprocess.run(reset, stdin=subprocess.DEVNULL, capture_output=True)

    def pull(self, reference: str) -> None:
        self._run("pull", "--quiet", "--tls-verify=false", reference)

    def build(self, context: Path) -> None:
        self._run("build", "--quiet", "--layers", "--isolation=chroot", "--network=host", "-t", BUILT, str(context))

    def forget_pulled(self, reference: str) -> None:
        self._run("rmi", "--force", reference)

    def forget_built(self) -> None:
        self._run("rmi", "--force", BUILT)
        self._run("image", "prune", "--force")

    def _run(self, *arguments: str) -> None:
        # the first that runs keeps a mount for those after it: in a namespace of its own it ends with it
        command = ["unshare", "--mount", "--", "podman", *self._places, "--cgroup-manager=cgroupfs"]
        run([*command, "--events-backend=file", *arguments])


def bench_images(work: Path, archive: Path, say: Console, *, with_peers: bool) -> Iterator[Row]:
    """`archive` is a root filesystem to build on."""
    tars = write_layers(work / "layers")
    image = docker_archive(work / "image.tar", [tar.read_bytes() for tar in tars], ["large:1"], {"Cmd": ["sh"]})
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(serving(work / "registry"))
        reference = registry.push(image, "large:1")
        subjects = list(_subjects(work, archive, stack, say, with_peers=with_peers))

        def pull(subject: Subject) -> Sequence[float]:
            seconds = _timed(lambda: subject.pull(reference))
            subject.forget_pulled(reference)
            return (seconds,)

        megabytes = sum(tar.stat().st_size for tar in tars) / 1e6
        yield from _in_turn(subjects, pull, [f"pull + unpack {megabytes:.0f} MB, {len(tars)} layers"])
        context = write_context(work / "context")

        def build(subject: Subject) -> Sequence[float]:
            cold, cached = (_timed(lambda: subject.build(context)) for _ in range(2))
            subject.forget_built()
            return cold, cached

        yield from _in_turn(subjects, build, ["build, nothing cached", "build, all cached"])
    yield from bench_unpack(work / "unpack", tars[0])


def _subjects(
    work: Path, archive: Path, stack: contextlib.ExitStack, say: Console, *, with_peers: bool
) -> Iterator[Subject | None]:
    """Ours, and the peers; None for one that does not work here."""
    kinds: dict[str, Callable[[Path], Subject]] = {"ours": OurImages}
    if with_peers:
        kinds |= {"docker": Docker, "podman": Podman}
    for name, kind in kinds.items():
        try:
            subject = kind(work / name)
            stack.enter_context(subject.running(archive))
            yield subject
        except Unavailable as error:
            say.print(f"{name}: not measured: {error}", style="dim", highlight=False)
            yield None


def _in_turn(
    subjects: Sequence[Subject | None], measure: Callable[[Subject], Sequence[float]], titles: Sequence[str]
) -> Iterator[Row]:
    """A row for each title; `measure` gives as many times. The first subject is ours."""
    took: list[list[Sequence[float]]] = [[] for _ in subjects]
    for _ in range(ROUNDS):
        for index, subject in enumerate(subjects):
            if subject is not None:
                took[index].append(measure(subject))
    for column, what in enumerate(titles):
        ours, *peers = (statistics.median(round[column] for round in rounds) if rounds else None for rounds in took)
        assert ours is not None
        known = [peer for peer in peers if peer is not None]
        yield Row(what, ours, most=min(known, default=None), peers=tuple(peers))


def _timed(work: Callable[[], object]) -> float:
    os.sync()  # what others wrote is not written on our time
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bench_unpack(work: Path, plain: Path) -> Iterator[Row]:
    """One layer alone, beside tar(1) of the same file. Ours verifies two digests of it meanwhile."""
    work.mkdir()
    diff_id = _digest(plain)
    blobs = {"plain": plain, "gzip": plain.with_suffix(".gz"), "zstd": plain.with_suffix(".zst")}
    subprocess.run(["gzip", "--keep", plain], check=True)
    subprocess.run(["mv", f"{plain}.gz", blobs["gzip"]], check=True)
    subprocess.run(["zstd", "-q", "-3", plain, "-o", blobs["zstd"]], check=True)
    for form, blob in blobs.items():
        layer = Layer("layer", blob, _digest(blob), diff_id)
        ours, tar = [], []
        for _ in range(ROUNDS):
            store, folder = LayerStore(work / "store"), work / "tar"
            store.ensure()
            ours.append(_timed(lambda: asyncio.run(store.ensure_layers([layer]))))  # noqa: B023
            folder.mkdir()
            tar.append(_timed(lambda: subprocess.run(["tar", "-C", folder, "-xf", blob], check=True)))  # noqa: B023
            shutil.rmtree(store.path)
            shutil.rmtree(folder)
        yield Row(
            f"unpack {plain.stat().st_size / 1e6:.0f} MB, {form}", statistics.median(ours), statistics.median(tar)
        )


def write_layers(folder: Path) -> list[Path]:
    """Tarballs of this machine's own files, with the sizes of LAYERS_MEGABYTES, bottom first."""
    folder.mkdir(parents=True)
    files = _files()
    paths = []
    for number, megabytes in enumerate(LAYERS_MEGABYTES):
        chosen, size = [], 0
        while size < megabytes * 1_000_000:
            path, file_bytes = next(files)
            chosen.append(str(path))
            size += file_bytes
        (folder / "names").write_text("\0".join(chosen))
        paths.append(folder / f"{number}.tar")
        # with their directories, as the layers of real images have them
        command = ["tar", "-C", "/", "--null", "--format=pax", "--pax-option=delete=atime,delete=ctime", "-cf"]
        subprocess.run([*command, paths[-1], "-T", folder / "names"], check=True)
    return paths


def _files() -> Iterator[tuple[Path, int]]:
    """Files and symlinks, relative to `/`, with their sizes: from each of the sources in turn."""
    walks = [_walk(source) for source in SOURCES]
    while True:
        for walk in walks:
            yield from itertools.islice(walk, 40)


def _walk(source: Path) -> Iterator[tuple[Path, int]]:
    for folder, folders, names in os.walk(source):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(names)):
            seen = path.lstat()
            if not stat.S_ISREG(seen.st_mode) or seen.st_size <= _MAX_FILE_BYTES:
                yield path.relative_to("/"), seen.st_size + 512


def write_context(folder: Path) -> Path:
    """What DOCKERFILE is built of: two hundred small files."""
    (folder / "app").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for number in range(200):
        (folder / "app" / f"{number}.txt").write_text(f"{number}\n" * 500)
    return folder


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
