"""Rules of volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.container import VOLUME_FIELDS, check_field_path, check_resource_field, exactly_one
from reconciler.manifest.rules.report import Report
from reconciler.manifest.yamltree import Location
from reconciler.model import quantity
from reconciler.model.pod import PodSpec
from reconciler.model.storage import EphemeralVolumeSource
from reconciler.model.volume import DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection

_MOST_MODE = 0o777
_REQUIRED: dict[str, tuple[str, ...]] = {
    "host_path": ("path",),
    "gce_persistent_disk": ("pd_name",),
    "aws_elastic_block_store": ("volume_id",),
    "git_repo": ("repository",),
    "secret": ("secret_name",),
    "nfs": ("server", "path"),
    "iscsi": ("target_portal", "iqn"),
    "glusterfs": ("endpoints", "path"),
    "persistent_volume_claim": ("claim_name",),
    "rbd": ("monitors", "image"),
    "flex_volume": ("driver",),
    "cinder": ("volume_id",),
    "cephfs": ("monitors",),
    "azure_file": ("secret_name", "share_name"),
    "config_map": ("name",),
    "vsphere_volume": ("volume_path",),
    "quobyte": ("registry", "volume"),
    "azure_disk": ("disk_name", "disk_uri"),
    "photon_persistent_disk": ("pd_id",),
    "portworx_volume": ("volume_id",),
    "scale_io": ("gateway", "system", "volume_name", "secret_ref"),
    "storageos": ("volume_name",),
    "csi": ("driver",),
    "image": ("reference",),
}
"""Attributes that a source must have, by source."""


def check_volumes(spec: PodSpec, at: Location, report: Report, *, is_pod: bool) -> dict[str, Volume]:
    """Returns: the volumes by name."""
    volumes: dict[str, Volume] = {}
    for index, volume in enumerate(spec.volumes):
        here = (*at, "volumes", index)
        if not volume.name:
            report.required((*here, "name"), "every volume has a name, by which containers mount it")
        else:
            report.check((*here, "name"), volume.name, formats.label(volume.name))
            if volume.name in volumes:
                report.refuse((*here, "name"), volume.name, "is the name of another volume of this pod")
            volumes[volume.name] = volume
        sources = volume.sources()
        if len(sources) > 1:
            names = " and ".join(_alias(volume, source) for source in sources)
            report.error(here, f"has {names}, and a volume can have one source only")
        for source in sources:
            _check_source(volume, source, (*here, _alias(volume, source)), report)
        if is_pod and volume.projected is not None and not spec.service_account_name:
            _check_no_tokens(volume.projected, here, report)
    return volumes


def _alias(model: object, attribute: str) -> str:
    return type(model).model_fields[attribute].alias or attribute  # type: ignore[attr-defined]


def _check_source(volume: Volume, source: str, at: Location, report: Report) -> None:
    value = getattr(volume, source)
    for attribute in _REQUIRED.get(source, ()):
        if not getattr(value, attribute):
            report.required((*at, _alias(value, attribute)), "a volume of this type needs it")
    if volume.host_path is not None and volume.host_path.path:
        report.check((*at, "path"), volume.host_path.path, formats.no_dot_dot(volume.host_path.path))
    elif volume.empty_dir is not None:
        limit = volume.empty_dir.size_limit
        if limit is not None and quantity.compare(limit, "0") < 0:
            report.refuse((*at, "sizeLimit"), limit, "must not be negative")
    elif volume.config_map is not None or volume.secret is not None:
        files = volume.config_map or volume.secret
        report.between((*at, "defaultMode"), files.default_mode if files else None, 0, _MOST_MODE)
        _check_items(files.items if files else (), at, report)
    elif volume.downward_api is not None:
        report.between((*at, "defaultMode"), volume.downward_api.default_mode, 0, _MOST_MODE)
        _check_downward(volume.downward_api.items, at, report, claimed=set())
    elif volume.projected is not None:
        _check_projected(volume.projected, at, report)
    elif volume.ephemeral is not None:
        _check_ephemeral(volume.ephemeral, at, report)
    elif volume.nfs is not None and volume.nfs.path:
        report.check((*at, "path"), volume.nfs.path, formats.absolute(volume.nfs.path))
    elif volume.git_repo is not None:
        report.check((*at, "directory"), volume.git_repo.directory, formats.local(volume.git_repo.directory))


def _check_items(items: Sequence[KeyToPath], at: Location, report: Report) -> None:
    for index, item in enumerate(items):
        here = (*at, "items", index)
        if not item.key:
            report.required((*here, "key"), "the key whose value becomes the file")
        _check_file(item.path, item.mode, here, report)


def _check_file(path: str, mode: int | None, at: Location, report: Report) -> None:
    if not path:
        report.required((*at, "path"), "the file's path inside the volume")
    else:
        report.check((*at, "path"), path, formats.local_not_dotted(path))
    report.between((*at, "mode"), mode, 0, _MOST_MODE)


def _check_downward(items: Sequence[DownwardAPIVolumeFile], at: Location, report: Report, *, claimed: set[str]) -> None:
    for index, item in enumerate(items):
        here = (*at, "items", index)
        _check_file(item.path, item.mode, here, report)
        if item.path in claimed:
            report.refuse((*here, "path"), item.path, "is the path of another file of this volume")
        claimed.add(item.path)
        if item.field_ref is not None and item.resource_field_ref is not None:
            report.error(here, "has fieldRef and resourceFieldRef, and only one of them can be used")
        elif item.field_ref is not None:
            check_field_path(item.field_ref.field_path, VOLUME_FIELDS, (*here, "fieldRef", "fieldPath"), report)
        elif item.resource_field_ref is not None:
            if not item.resource_field_ref.container_name:
                report.required((*here, "resourceFieldRef", "containerName"), "the container whose resource it is")
            check_resource_field(item.resource_field_ref, (*here, "resourceFieldRef"), report)
        else:
            report.required((*here, "fieldRef"), "what the file holds: fieldRef or resourceFieldRef")


def _check_projected(projected: ProjectedVolumeSource, at: Location, report: Report) -> None:
    report.between((*at, "defaultMode"), projected.default_mode, 0, _MOST_MODE)
    claimed: set[str] = set()
    for index, source in enumerate(projected.sources):
        here = (*at, "sources", index)
        if not exactly_one(source, here, "a source of files", report):
            continue
        for path, location in _projected_paths(source, here):
            if path in claimed:
                report.refuse(location, path, "is the path of another file of this volume")
            claimed.add(path)
        _check_projection(source, here, claimed, report)


def _check_no_tokens(projected: ProjectedVolumeSource, at: Location, report: Report) -> None:
    for index, source in enumerate(projected.sources):
        if source.service_account_token is not None:
            here = (*at, "projected", "sources", index, "serviceAccountToken")
            report.error(here, "needs spec.serviceAccountName: the token is that account's")


def _projected_paths(source: VolumeProjection, at: Location) -> Iterator[tuple[str, Location]]:
    for field, files in (("secret", source.secret), ("configMap", source.config_map)):
        for index, item in enumerate(files.items if files else ()):
            yield item.path, (*at, field, "items", index, "path")
    token = source.service_account_token
    if token is not None and token.path:
        yield token.path, (*at, "serviceAccountToken", "path")


def _check_projection(source: VolumeProjection, at: Location, claimed: set[str], report: Report) -> None:
    for field, files in (("secret", source.secret), ("configMap", source.config_map)):
        if files is not None:
            if not files.name:
                report.required((*at, field, "name"), "where the files come from")
            _check_items(files.items, (*at, field), report)
    if source.downward_api is not None:
        _check_downward(source.downward_api.items, (*at, "downwardAPI"), report, claimed=claimed)
    token = source.service_account_token
    if token is not None:
        here = (*at, "serviceAccountToken")
        if token.expiration_seconds is not None:
            report.between((*here, "expirationSeconds"), token.expiration_seconds, 600, 2**32)
        if not token.path:
            report.required((*here, "path"), "the file's path inside the volume")
        else:
            report.check((*here, "path"), token.path, formats.local_not_dotted(token.path))
    bundle = source.cluster_trust_bundle
    if bundle is not None:
        here = (*at, "clusterTrustBundle")
        if (bundle.name is None) == (bundle.signer_name is None):
            report.error(here, "needs either name or signerName")
        if not bundle.path:
            report.required((*here, "path"), "the file's path inside the volume")


def _check_ephemeral(ephemeral: EphemeralVolumeSource, at: Location, report: Report) -> None:
    template = ephemeral.volume_claim_template
    if template is None:
        report.required((*at, "volumeClaimTemplate"), "the claim to make for this pod")
        return
    here = (*at, "volumeClaimTemplate", "spec")
    if not template.spec.access_modes:
        report.required((*here, "accessModes"), "at least one, such as ReadWriteOnce")
    if "storage" not in template.spec.resources.requests:
        report.required((*here, "resources", "requests", "storage"), "the size of the volume")
