"""The last look at a plan before it is carried out: what no plan may ever do.

The planner is written so that these hold; a plan that breaks one is a defect, and refusing it
is cheaper than a removed container.
"""

from __future__ import annotations

from reconciler.errors import TerminalError
from reconciler.model.observed import SeenPod, State
from reconciler.plan.pods import Want, newest
from reconciler.plan.steps import (
    CreateContainer,
    CreateSandbox,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    StopContainer,
    UpdateVolume,
)


def check(plan: Plan, want: Want | None, seen: SeenPod | None) -> None:
    """Raise TerminalError(reason="PlanRefused") unless the plan touches only what belongs to its pod,
    leaves healthy containers that are as declared alone, and orders its steps."""
    known = {c.id for c in seen.containers} if seen else set()
    sandboxes = {seen.sandbox.id} if seen and seen.sandbox else set()
    healthy = _healthy(want, seen)
    for index, step in enumerate(plan.steps, start=1):
        if step.number != index or any(before >= index for before in step.after):
            raise _refused(plan, f"step #{step.number} is out of order")
        action = step.action
        match action:
            case PullImage():
                continue
            case CreateSandbox():
                sandboxes.add(action.id)
                continue
            case CreateContainer():
                if action.sandbox_id not in sandboxes or action.id in known:
                    raise _refused(plan, f"step #{index} makes a container where it does not belong")
                known.add(action.id)
                continue
            case UpdateVolume():
                ours = action.sandbox_id in sandboxes
            case RemoveSandbox():
                ours = action.id in sandboxes
            case _:
                ours = action.id in known
        if not ours:
            raise _refused(plan, f"step #{index} touches what is not of this pod")
        if isinstance(action, StopContainer | RemoveContainer) and action.id in healthy:
            raise _refused(plan, f"step #{index} touches a healthy container")
        if isinstance(action, RemoveContainer | RemoveSandbox):  # nothing may follow but making it anew
            known.discard(action.id)
            sandboxes.discard(action.id)


def _healthy(want: Want | None, seen: SeenPod | None) -> set[str]:
    """Ids of running containers that are as declared, on a sandbox that is as declared."""
    if want is None or want.deleting or seen is None or seen.sandbox is None:
        return set()
    if seen.sandbox.fault or seen.sandbox.spec_hash != want.sandbox_hash:
        return set()
    out = set()
    for declared in (*want.containers, *want.init_containers):
        last = newest(seen.containers, declared.config.name)
        if (
            last is not None
            and last.state is State.RUNNING
            and last.spec_hash == declared.spec_hash
            and last.sandbox_id == seen.sandbox.id
        ):
            out.add(last.id)
    return out


def _refused(plan: Plan, why: str) -> TerminalError:
    return TerminalError(f"refused a plan that must not be: {why}\n{plan}", reason="PlanRefused")
