"""The root filesystem of a container: its image's layers under a directory of its own, by overlayfs."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from reconciler.errors import TerminalError
from reconciler.runtimes.native import kernel

_PAGE_BYTES = 4095  # all mount(2) takes for its options
# what a container writes goes with it, and after a power cut it is made anew: syncing it buys nothing
_VOLATILE = ",volatile"


def render_options(layers: Sequence[str], upper: str, work: str) -> str:
    """The options of an overlay mount; `layers` with the topmost first."""
    return f"lowerdir={':'.join(_escape(layer) for layer in layers)},upperdir={_escape(upper)},workdir={_escape(work)}"


def ensure(target: Path, layers: Sequence[Path], scratch: Path) -> None:
    """Mount `layers` (bottom first) at `target`, writable; what is written lands in `scratch`/upper.

    Idempotent: nothing happens when `target` is mounted. Raises: OSError, TerminalError(CreateContainerError).
    """
    if os.path.ismount(target):
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in ("upper", "work"):
        (scratch / name).mkdir(parents=True, exist_ok=True)
    (scratch / "upper").chmod(0o755)
    names = [str(layer) for layer in reversed(layers)]
    upper, work = str(scratch / "upper"), str(scratch / "work")
    if len(os.fsencode(render_options(names, upper, work))) + len(_VOLATILE) <= _PAGE_BYTES:
        _mount(str(target), render_options(names, upper, work))
        return
    # too many layers for a page of options: descriptors have shorter names
    held: list[int] = []
    try:
        held.extend(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for name in names)
        options = render_options([f"/proc/self/fd/{descriptor}" for descriptor in held], upper, work)
        if len(os.fsencode(options)) + len(_VOLATILE) > _PAGE_BYTES:
            raise TerminalError(
                f"the image has {len(layers)} layers, more than this kernel mounts; squash it",
                reason="CreateContainerError",
            )
        _mount(str(target), options)
    finally:
        for descriptor in held:
            os.close(descriptor)


def remove(target: Path) -> None:
    """Unmount and remove the mount point. Idempotent."""
    kernel.unmount(str(target))
    try:
        target.rmdir()
    except FileNotFoundError:
        pass


def _mount(target: str, options: str) -> None:
    try:
        kernel.mount("overlay", target, "overlay", 0, options + _VOLATILE)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 5.10
            raise
        kernel.mount("overlay", target, "overlay", 0, options)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
