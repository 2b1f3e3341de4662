"""A world in memory: what `--dry-run` and the tests of the loop run on.

It keeps the promises of ports.Runtime, and it can be hurt the way a real machine can:
processes that exit, containers removed or paused behind our back, destroyed sandboxes, failing steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from reconciler.errors import ReconcilerError, TerminalError, TransientError
from reconciler.model.observed import Observed, SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import Files
from reconciler.plan.hashing import volume_hash
from reconciler.plan.steps import (
    CreateContainer,
    CreateSandbox,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    RestoreLimits,
    ResumeContainer,
    StartContainer,
    Step,
    StopContainer,
    UpdateVolume,
)
from reconciler.ports import Clock


class FakeRuntime:
    """Implements ports.Runtime. `images` is what its store holds, `registry` what can be pulled."""

    def __init__(self, clock: Clock, *, seconds_per_step: float = 0.0) -> None:
        self._clock = clock
        self._seconds_per_step = seconds_per_step
        self._pods: dict[Ref, SeenPod] = {}
        self._owners: dict[str, Ref] = {}  # of sandboxes and containers, by id
        self._events: asyncio.Queue[Ref] = asyncio.Queue()
        self._next_address = 2
        self.images: dict[str, str] = {}
        self.registry: dict[str, str] = {}
        self.done: list[Step] = []
        self.fail: Callable[[Step], ReconcilerError | None] = lambda step: None

    async def observe(self, ref: Ref | None = None) -> Observed:
        pods = self.pods() if ref is None else {ref: self._pods[ref]} if ref in self._pods else {}
        return Observed(MappingProxyType(pods), MappingProxyType(self.images))

    async def execute(self, step: Step) -> str:
        if self._seconds_per_step:
            await asyncio.sleep(self._seconds_per_step)
        error = self.fail(step)
        if error is not None:
            raise error
        self.done.append(step)
        match step.action:
            case PullImage(image=image):
                return self._pull(image)
            case CreateSandbox():
                self._create_sandbox(step.action)
            case UpdateVolume():
                self._update_volume(step.action)
            case CreateContainer():
                self._create_container(step.action)
            case StartContainer(id=identity):
                if self._container(identity).state is State.CREATED:
                    self._change(identity, state=State.RUNNING, started_at=self._clock.now(), pid=1)
            case StopContainer(id=identity):
                if identity in self._owners and self._container(identity).state in (State.RUNNING, State.PAUSED):
                    self._exit(identity, 143)
            case ResumeContainer(id=identity):
                if self._container(identity).state is State.PAUSED:
                    self._change(identity, state=State.RUNNING)
            case RestoreLimits(id=identity):
                self._change(identity, limits_drifted=False)
            case RemoveContainer(id=identity):
                self._remove(identity, lambda pod: replace(pod, containers=_without(pod, identity)))
            case RemoveSandbox(id=identity):
                self._remove(identity, lambda pod: replace(pod, sandbox=None))
        return ""

    async def mend(self) -> Sequence[str]:
        return ()

    async def events(self) -> AsyncIterator[Ref]:
        while True:
            yield await self._events.get()

    async def aclose(self) -> None:
        """Nothing to let go of."""

    # What happens to a real machine

    def exit(self, container_id: str, code: int) -> None:
        """The process of a container ends, and the runtime notices."""
        self._exit(container_id, code)
        self._events.put_nowait(self._owners[container_id])

    def change(self, container_id: str, **fields: object) -> None:
        """Somebody does something to a container behind our back."""
        self._change(container_id, **fields)

    def break_sandbox(self, sandbox_id: str, fault: str) -> None:
        """Somebody destroys what a sandbox is made of."""
        pod = self._pods[self._owners[sandbox_id]]
        assert pod.sandbox is not None
        self._pods[pod.ref] = replace(pod, sandbox=replace(pod.sandbox, fault=fault))

    def containers(self) -> Mapping[str, SeenContainer]:
        """All containers by id."""
        return {container.id: container for pod in self._pods.values() for container in pod.containers}

    def pods(self) -> Mapping[Ref, SeenPod]:
        """All pods."""
        return dict(self._pods)

    # Inside

    def _pull(self, image: str) -> str:
        if image not in self.registry:
            raise TerminalError(f"{image}: manifest unknown", reason="ErrImagePull")
        self.images[image] = self.registry[image]
        return "in 0s"

    def _create_sandbox(self, action: CreateSandbox) -> None:
        if action.id in self._owners:
            return
        volumes = {v.name: volume_hash(v) for v in action.config.volumes if isinstance(v, Files)}
        address = f"10.0.{self._next_address // 256}.{self._next_address % 256}"
        self._next_address += 1
        sandbox = SeenSandbox(
            id=action.id,
            spec_hash=action.spec_hash,
            attempt=action.attempt,
            created_at=self._clock.now(),
            addresses=(address,),
            volume_hashes=MappingProxyType(volumes),
            grace_seconds=action.grace_seconds,
        )
        ref = action.config.pod
        self._pods[ref] = replace(self._pods.get(ref) or SeenPod(ref), sandbox=sandbox)
        self._owners[action.id] = ref

    def _update_volume(self, action: UpdateVolume) -> None:
        if action.sandbox_id not in self._owners:
            raise TerminalError(f"no sandbox {action.sandbox_id}", reason="NotFound")
        pod = self._pods[self._owners[action.sandbox_id]]
        assert pod.sandbox is not None
        hashes = {**pod.sandbox.volume_hashes, action.name: action.volume_hash}
        self._pods[pod.ref] = replace(pod, sandbox=replace(pod.sandbox, volume_hashes=MappingProxyType(hashes)))

    def _create_container(self, action: CreateContainer) -> None:
        pod = self._pods.get(action.pod)
        if pod is None or pod.sandbox is None or pod.sandbox.id != action.sandbox_id:
            raise TerminalError(f"no sandbox {action.sandbox_id}", reason="CreateContainerError")
        if action.id in self._owners:
            return
        if action.config.image not in self.images:
            raise TransientError(f"no image {action.config.image}", reason="ErrImageNeverPull")
        container = SeenContainer(
            id=action.id,
            name=action.config.name,
            sandbox_id=action.sandbox_id,
            spec_hash=action.spec_hash,
            state=State.CREATED,
            attempt=action.attempt,
            backoff_level=action.backoff_level,
            image=action.config.image,
            image_id=self.images[action.config.image],
            created_at=self._clock.now(),
        )
        self._pods[pod.ref] = replace(pod, containers=(*pod.containers, container))
        self._owners[action.id] = pod.ref

    def _container(self, container_id: str) -> SeenContainer:
        if container_id not in self._owners:
            raise TerminalError(f"no container {container_id}", reason="NotFound")
        return next(c for c in self._pods[self._owners[container_id]].containers if c.id == container_id)

    def _exit(self, container_id: str, code: int) -> None:
        self._change(container_id, state=State.EXITED, exit_code=code, finished_at=self._clock.now(), pid=None)

    def _change(self, container_id: str, **fields: object) -> None:
        changed = replace(self._container(container_id), **fields)  # type: ignore[arg-type]
        pod = self._pods[self._owners[container_id]]
        self._pods[pod.ref] = replace(
            pod, containers=tuple(changed if c.id == container_id else c for c in pod.containers)
        )

    def _remove(self, identity: str, without: Callable[[SeenPod], SeenPod]) -> None:
        ref = self._owners.pop(identity, None)
        if ref is None:
            return
        left = without(self._pods[ref])
        if left.sandbox is None and not left.containers:
            del self._pods[ref]
        else:
            self._pods[ref] = left


def _without(pod: SeenPod, container_id: str) -> tuple[SeenContainer, ...]:
    return tuple(c for c in pod.containers if c.id != container_id)
