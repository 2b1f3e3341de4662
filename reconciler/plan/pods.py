"""The node planner: from what one pod should be and what is there of it to steps.

Level-triggered: nothing is remembered between two plans but what the runtime shows and
the failures that the loop counted. Source of the rules: kubelet's computePodActions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.model.login import Login
from reconciler.model.observed import SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, Files, SandboxConfig
from reconciler.plan import hashing
from reconciler.plan.restart import Failure, create_due, next_level, pull_due, restart_due
from reconciler.plan.steps import (
    CreateContainer,
    CreateSandbox,
    Draft,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    RestoreLimits,
    ResumeContainer,
    StartContainer,
    StopContainer,
    UpdateVolume,
    Why,
)

_ORPHAN_GRACE_SECONDS = 30.0
_LIVE = (State.RUNNING, State.PAUSED)
_NO_FAILURES: Mapping[str, Failure] = MappingProxyType({})
_NO_IMAGES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why something cannot be made before its declaration (or what it refers to) changes."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WantContainer:
    """A container that should be: its config, and how its image is to be had."""

    config: ContainerConfig
    spec_hash: str
    pull_policy: str = "IfNotPresent"  # Always | IfNotPresent | Never
    blocked: Blocked | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A pod that should be. `blocked` holds the sandbox back; `deleting` takes the pod down."""

    ref: Ref
    sandbox: SandboxConfig
    sandbox_hash: str
    volume_hashes: Mapping[str, str]
    containers: tuple[WantContainer, ...]
    init_containers: tuple[WantContainer, ...] = ()
    restart_policy: str = "Always"  # Always | OnFailure | Never
    grace_seconds: float = 30.0
    logins: tuple[Login, ...] = field(default=(), repr=False)  # of its imagePullSecrets
    blocked: Blocked | None = None
    deleting: bool = False
    _files: Mapping[str, Files] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        files = {v.name: v for v in self.sandbox.volumes if isinstance(v, Files)}
        object.__setattr__(self, "_files", files)

    def files(self, volume: str) -> Files:
        return self._files[volume]


def plan_pod(
    want: Want | None,
    seen: SeenPod | None,
    *,
    now: float,
    images: Mapping[str, str] = _NO_IMAGES,
    failures: Mapping[str, Failure] = _NO_FAILURES,
) -> Plan:
    """Return the steps that move `seen` towards `want`.

    `want` of None is a pod that nobody declares. `images` maps the references in the
    store to ids. `failures` is keyed by container name, by image reference, and "" for
    the sandbox. `now` and all times in `seen` and `failures` are seconds on one clock.
    The same inputs give the same plan; orders of mappings and of containers do not matter. Never raises.
    """
    return _PodPlanner(want, seen, now, images, failures).plan()


def newest(containers: tuple[SeenContainer, ...], name: str) -> SeenContainer | None:
    """The latest attempt of a container, dead or alive."""
    return max((c for c in containers if c.name == name), key=lambda c: c.attempt, default=None)


def finished(want: Want, seen: SeenPod) -> bool:
    """Whether the pod has ended for good: no main container will run again."""
    if want.restart_policy == "Always" or seen.sandbox is None:
        return False
    for init in want.init_containers:
        last = newest(seen.containers, init.config.name)
        if last is not None and want.restart_policy == "Never" and last.state is State.EXITED and last.exit_code != 0:
            return True
    last_ones = [newest(seen.containers, c.config.name) for c in want.containers]
    return all(
        last is not None and last.state is State.EXITED and not _restarts(want.restart_policy, last)
        for last in last_ones
    )


def as_declared(want: Want, seen: SeenPod) -> bool:
    """Whether all there is was made from this declaration; not so while an older one goes on,
    because the new one cannot be made (yet)."""
    sandbox = seen.sandbox
    if sandbox is None or sandbox.spec_hash != want.sandbox_hash:
        return False
    if any(sandbox.volume_hashes.get(name) != expected for name, expected in want.volume_hashes.items()):
        return False
    lasts = ((newest(seen.containers, c.config.name), c) for c in (*want.init_containers, *want.containers))
    return all(last is None or last.spec_hash == declared.spec_hash for last, declared in lasts)


class _PodPlanner:
    def __init__(
        self,
        want: Want | None,
        seen: SeenPod | None,
        now: float,
        images: Mapping[str, str],
        failures: Mapping[str, Failure],
    ) -> None:
        self.want = want
        self.sandbox: SeenSandbox | None = seen.sandbox if seen else None
        self.containers = tuple(sorted(seen.containers, key=lambda c: (c.name, c.attempt))) if seen else ()
        self.seen = seen
        self.now = now
        self.images = images
        self.failures = failures
        self.draft = Draft()
        self.pulls: dict[str, int] = {}

    def plan(self) -> Plan:
        want = self.want
        if want is None or want.deleting:
            remembered = self.sandbox.grace_seconds if self.sandbox else _ORPHAN_GRACE_SECONDS
            self._tear_down(Why.UNDECLARED, want.grace_seconds if want else remembered)
        elif self.seen is not None and finished(want, self.seen) and as_declared(want, self.seen):
            self._remove_superseded(want)
            self._remove_undeclared(want)
        elif self.sandbox is not None and not self.sandbox.fault and self.sandbox.spec_hash == want.sandbox_hash:
            self._keep_sandbox(want, self.sandbox)
        elif want.blocked is None:
            self._replace_sandbox(want)
        return self.draft.plan()

    # The sandbox

    def _tear_down(self, why: Why, grace_seconds: float, after: Sequence[int] = ()) -> list[int]:
        removed = [self._stop_and_remove(c, why, grace_seconds, after) for c in self.containers]
        if self.sandbox is None:
            return removed
        return [self.draft.add(RemoveSandbox(self.sandbox.id), why, removed or after)]

    def _replace_sandbox(self, want: Want) -> None:
        """Also its first making: there is nothing to tear down then."""
        failure = self.failures.get("")
        if failure is not None and (due := create_due(failure, self.now)) > self.now:
            self.draft.wake(due)
            return
        every = (*want.init_containers, *want.containers)
        makeable = [container for container in every if self._can_make(container)]
        broken = self.sandbox is not None and bool(self.sandbox.fault)
        live = self.sandbox is not None and not broken
        if live and len(makeable) < len(every):
            return  # the old one goes on until the new one can be made
        first = [c for c in want.init_containers[:1] or want.containers if c in makeable]
        pulled = {c.config.name: self._pull(c) for c in (every if live else first)}
        why = Why.BROKEN if broken else Why.SPEC_CHANGED if self.sandbox else Why.ABSENT
        attempt = self.sandbox.attempt + 1 if self.sandbox else 0
        gone = self._tear_down(
            Why.BROKEN if broken else Why.SANDBOX_CHANGED,
            want.grace_seconds,
            sorted(self.pulls.values()) if live else (),
        )
        identity = hashing.sandbox_id(want.ref, attempt)
        made = self.draft.add(
            CreateSandbox(identity, want.sandbox, want.sandbox_hash, attempt, want.grace_seconds), why, gone
        )
        for container in first:
            last = newest(self.containers, container.config.name) if broken else None
            attempt = last.attempt + 1 if last else 0
            level = last.backoff_level if last else 0
            self._create(container, identity, why, [made, *pulled[container.config.name]], attempt, level)

    def _keep_sandbox(self, want: Want, sandbox: SeenSandbox) -> None:
        updates = {
            name: self.draft.add(UpdateVolume(sandbox.id, want.files(name), name, expected), Why.SPEC_CHANGED)
            for name, expected in sorted(want.volume_hashes.items())
            if sandbox.volume_hashes.get(name) != expected
        }
        self._remove_superseded(want)
        self._remove_undeclared(want)
        due = self._due_containers(want, sandbox)
        for container in due:
            after = [updates[m.volume] for m in container.config.mounts if m.volume in updates]
            self._keep_container(container, sandbox, after, init=container in want.init_containers)

    def _due_containers(self, want: Want, sandbox: SeenSandbox) -> tuple[WantContainer, ...]:
        """The containers whose turn it is: one init container at a time, then all main ones."""
        mains = {c.config.name for c in want.containers}
        if any(c.name in mains and c.sandbox_id == sandbox.id for c in self.containers):
            return want.containers
        for init in want.init_containers:
            last = newest(self.containers, init.config.name)
            done = last is not None and last.sandbox_id == sandbox.id and last.state is State.EXITED
            if not (done and last is not None and last.exit_code == 0):
                return (init,)
        return want.containers

    # One container

    def _keep_container(self, want: WantContainer, sandbox: SeenSandbox, after: list[int], *, init: bool) -> None:
        last = newest(self.containers, want.config.name)
        if last is None:
            if self._can_make(want):
                self._create(want, sandbox.id, Why.ABSENT, [*after, *self._pull(want)], 0, 0)
        elif last.spec_hash != want.spec_hash or last.sandbox_id != sandbox.id:
            self._swap(want, last, sandbox, after)
        elif last.state in (State.EXITED, State.BROKEN):
            self._restart(want, last, sandbox, after, init=init)
        elif last.state is State.CREATED:
            if not self._backs_off(want):
                self.draft.add(StartContainer(last.id), Why.ABSENT, after)
        else:
            thawed = after
            if last.state is State.PAUSED:
                thawed = [self.draft.add(ResumeContainer(last.id), Why.PAUSED, after)]
            if last.limits_drifted:
                self.draft.add(RestoreLimits(last.id), Why.DRIFTED, thawed)

    def _swap(self, want: WantContainer, last: SeenContainer, sandbox: SeenSandbox, after: list[int]) -> None:
        """Replace a container whose declaration changed; what runs stays until the new one can be made."""
        if not self._can_make(want):
            return
        assert self.want is not None
        pulled = self._pull(want)
        gone = self._stop_and_remove(last, Why.SPEC_CHANGED, self.want.grace_seconds, [*after, *pulled])
        self._create(want, sandbox.id, Why.SPEC_CHANGED, [gone], last.attempt + 1, 0)

    def _restart(
        self, want: WantContainer, last: SeenContainer, sandbox: SeenSandbox, after: list[int], *, init: bool
    ) -> None:
        assert self.want is not None
        policy = self.want.restart_policy
        if init and policy == "Always":
            policy = "OnFailure"
        broken = last.state is State.BROKEN
        if not broken and not _restarts(policy, last):
            return
        due = restart_due(last, self.now)
        if due > self.now:
            self.draft.wake(due)
        elif self._can_make(want):
            before = [*after, *self._pull(want)]
            if broken:
                before = [self.draft.add(RemoveContainer(last.id), Why.BROKEN, before)]
            why = Why.BROKEN if broken else Why.EXITED
            self._create(want, sandbox.id, why, before, last.attempt + 1, next_level(last, self.now))

    def _create(
        self, want: WantContainer, sandbox_id: str, why: Why, after: list[int], attempt: int, backoff_level: int
    ) -> None:
        assert self.want is not None
        identity = hashing.container_id(sandbox_id, want.config.name, attempt)
        action = CreateContainer(
            identity, self.want.ref, sandbox_id, want.config, want.spec_hash, attempt, backoff_level
        )
        made = self.draft.add(action, why, after)
        self.draft.add(StartContainer(identity), why, [made])

    def _can_make(self, want: WantContainer) -> bool:
        """Whether nothing is in the way of making a container. What only needs time asks to be planned again."""
        if want.blocked is not None or self._backs_off(want):
            return False
        if not self._needs_pull(want):
            return want.config.image in self.images
        failure = self.failures.get(want.config.image)
        if failure is None or (due := pull_due(failure, self.now)) <= self.now:
            return True
        self.draft.wake(due)
        return False

    def _needs_pull(self, want: WantContainer) -> bool:
        return want.pull_policy == "Always" or (
            want.pull_policy == "IfNotPresent" and want.config.image not in self.images
        )

    def _pull(self, want: WantContainer) -> list[int]:
        """The steps that bring the image: none, or one for all containers that have the same."""
        if not self._needs_pull(want):
            return []
        image = want.config.image
        if image not in self.pulls:
            assert self.want is not None
            self.pulls[image] = self.draft.add(PullImage(image, self.want.logins), Why.ABSENT)
        return [self.pulls[image]]

    def _backs_off(self, want: WantContainer) -> bool:
        """Whether it is too early to try again what failed with this container."""
        failure = self.failures.get(want.config.name)
        if failure is None or (due := create_due(failure, self.now)) <= self.now:
            return False
        self.draft.wake(due)
        return True

    def _stop_and_remove(
        self, container: SeenContainer, why: Why, grace_seconds: float, after: Sequence[int] = ()
    ) -> int:
        before = list(after)
        if container.state is State.PAUSED:  # a frozen process cannot take a signal
            before = [self.draft.add(ResumeContainer(container.id), why, before)]
        if container.state in _LIVE:
            before = [self.draft.add(StopContainer(container.id, grace_seconds), why, before)]
        return self.draft.add(RemoveContainer(container.id), why, before)

    def _remove_superseded(self, want: Want) -> None:
        """Keep the newest attempt of each container and the dead one before it, for its log."""
        for container in self.containers:
            last = newest(self.containers, container.name)
            if last is None or container.attempt >= last.attempt:
                continue
            if container.attempt < last.attempt - 1 or container.state is not State.EXITED:
                self._stop_and_remove(container, Why.SUPERSEDED, want.grace_seconds)

    def _remove_undeclared(self, want: Want) -> None:
        names = {c.config.name for c in (*want.containers, *want.init_containers)}
        for container in self.containers:
            if container.name not in names:
                self._stop_and_remove(container, Why.UNDECLARED, want.grace_seconds)


def _restarts(policy: str, dead: SeenContainer) -> bool:
    return policy == "Always" or (policy == "OnFailure" and dead.exit_code != 0)
