"""Admission: the API server's rules for the kinds we have, and what of an object will not be carried out.

Types and single values were settled by decoding. Here an object is held together: names,
references between its parts, requests and limits, selectors. Errors refuse the object; warnings and
notes (effects.py) only tell.
"""

from __future__ import annotations

from typing import assert_never

from reconciler.manifest.effects import check_effects
from reconciler.manifest.rules import formats
from reconciler.manifest.rules.config import check_config_map, check_secret
from reconciler.manifest.rules.metadata import check_metadata
from reconciler.manifest.rules.pod import check_pod_spec
from reconciler.manifest.rules.report import Finding, Report
from reconciler.manifest.rules.workload import check_deployment, check_replica_set
from reconciler.model.kinds import ConfigMap, Deployment, Namespace, Object, Pod, ReplicaSet, Secret


def admit(obj: Object) -> list[Finding]:
    """All that is to be said about a decoded object, in the order of its fields within each topic."""
    report = Report()
    name = formats.label if obj.kind == "Namespace" else formats.subdomain
    check_metadata(obj.metadata, ("metadata",), report, name=name)
    match obj:
        case Pod():
            check_pod_spec(obj.spec, ("spec",), report, is_pod=True)
        case Deployment():
            check_deployment(obj, report)
        case ReplicaSet():
            check_replica_set(obj, report)
        case ConfigMap():
            check_config_map(obj, report)
        case Secret():
            check_secret(obj, report)
        case Namespace():
            pass
        case _:
            assert_never(obj)
    check_effects(obj, report)
    return report.findings
