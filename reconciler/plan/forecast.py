"""What a whole set of declared objects would lead to: the plans of all its pods at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reconciler.model.kinds import Object, Pod, ref_of
from reconciler.model.observed import Observed
from reconciler.model.ref import Ref
from reconciler.plan.environment import Node
from reconciler.plan.expand import expand
from reconciler.plan.pods import plan_pod
from reconciler.plan.resolve import resolve
from reconciler.plan.steps import Plan


def forecast(
    objects: Mapping[Ref, Object], observed: Observed, *, uid: Callable[[Ref], str], node: Node, now: float
) -> list[tuple[Ref, Plan]]:
    """Return every pod for which there is something to do, with its plan, by name.

    `objects` is everything that is declared; pods that run and do not follow from it are taken down.
    """
    everything: dict[Ref, Object] = {}
    for obj in objects.values():
        everything |= {ref_of(made): made for made in _made_by(obj, uid)}
    everything |= objects  # what is declared keeps its name
    pods = {ref for ref, obj in everything.items() if isinstance(obj, Pod)} | set(observed.pods)
    out = []
    for ref in sorted(pods):
        pod = everything.get(ref)
        want = resolve(pod, uid(ref), everything.get, node) if isinstance(pod, Pod) else None
        plan = plan_pod(want, observed.pods.get(ref), now=now, images=observed.images)
        if plan.steps:
            out.append((ref, plan))
    return out


def _made_by(owner: Object, uid: Callable[[Ref], str]) -> Iterator[Object]:
    for child in expand(owner, uid(ref_of(owner))):
        yield child
        yield from _made_by(child, uid)
