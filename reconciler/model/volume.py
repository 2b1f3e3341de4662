"""Volumes of a pod."""

from typing import Any, Literal

from pydantic import Field

from reconciler.model.container import ObjectFieldSelector, PullPolicy, ResourceFieldSelector
from reconciler.model.fields import Flag, Int32, Int64, Quantity, Text, TextMap
from reconciler.model.meta import Declared, LabelSelector
from reconciler.model.reference import pull_policy
from reconciler.model.storage import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    AzureFileVolumeSource,
    CephFSVolumeSource,
    CinderVolumeSource,
    CSIVolumeSource,
    EphemeralVolumeSource,
    FCVolumeSource,
    FlexVolumeSource,
    FlockerVolumeSource,
    GCEPersistentDiskVolumeSource,
    GitRepoVolumeSource,
    GlusterfsVolumeSource,
    ISCSIVolumeSource,
    NFSVolumeSource,
    PersistentVolumeClaimVolumeSource,
    PhotonPersistentDiskVolumeSource,
    PortworxVolumeSource,
    QuobyteVolumeSource,
    RBDVolumeSource,
    ScaleIOVolumeSource,
    StorageOSVolumeSource,
    VsphereVirtualDiskVolumeSource,
)

DEFAULT_MODE = 0o644


class KeyToPath(Declared):
    """A key of a ConfigMap or Secret as a file. `path` is relative; `mode` beats the volume's."""

    key: Text = ""
    path: Text = ""
    mode: Int32 | None = None


class EmptyDirVolumeSource(Declared):
    medium: Text = ""
    size_limit: Quantity | None = None


class HostPathVolumeSource(Declared):
    always_shown = frozenset({"type"})

    path: Text = ""
    type: Literal[
        "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"
    ] = ""


class ConfigMapVolumeSource(Declared):
    name: Text = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: Int32 | None = DEFAULT_MODE
    optional: Flag | None = None


class SecretVolumeSource(Declared):
    secret_name: Text = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: Int32 | None = DEFAULT_MODE
    optional: Flag | None = None


class DownwardAPIVolumeFile(Declared):
    """One file with a field of the pod, or a resource of one of its containers."""

    path: Text = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: Int32 | None = None


class DownwardAPIVolumeSource(Declared):
    items: tuple[DownwardAPIVolumeFile, ...] = ()
    default_mode: Int32 | None = DEFAULT_MODE


class SecretProjection(Declared):
    name: Text = ""
    items: tuple[KeyToPath, ...] = ()
    optional: Flag | None = None


class ConfigMapProjection(Declared):
    name: Text = ""
    items: tuple[KeyToPath, ...] = ()
    optional: Flag | None = None


class DownwardAPIProjection(Declared):
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class ServiceAccountTokenProjection(Declared):
    audience: Text = ""
    expiration_seconds: Int64 | None = 3600
    path: Text = ""


class ClusterTrustBundleProjection(Declared):
    name: Text | None = None
    signer_name: Text | None = None
    label_selector: LabelSelector | None = None
    optional: Flag | None = None
    path: Text = ""


class PodCertificateProjection(Declared):
    signer_name: Text = ""
    key_type: Text = ""
    max_expiration_seconds: Int32 | None = 86400
    credential_bundle_path: Text = ""
    key_path: Text = ""
    certificate_chain_path: Text = ""
    user_annotations: TextMap = Field(default_factory=dict)


class VolumeProjection(Declared):
    """Exactly one of them is set."""

    secret: SecretProjection | None = None
    downward_api: DownwardAPIProjection | None = None
    config_map: ConfigMapProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None
    pod_certificate: PodCertificateProjection | None = None


class ProjectedVolumeSource(Declared):
    sources: tuple[VolumeProjection, ...] = ()
    default_mode: Int32 | None = DEFAULT_MODE


class ImageVolumeSource(Declared):
    reference: Text = ""
    pull_policy: PullPolicy = "IfNotPresent"

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        reference = data.get("reference", "")
        if "pullPolicy" not in data and "pull_policy" not in data and isinstance(reference, str):
            data["pullPolicy"] = pull_policy(reference)


class Volume(Declared):
    """Exactly one source is set; none at all is an emptyDir."""

    name: Text = ""
    host_path: HostPathVolumeSource | None = None
    empty_dir: EmptyDirVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    git_repo: GitRepoVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    flex_volume: FlexVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    fc: FCVolumeSource | None = None
    azure_file: AzureFileVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    scale_io: ScaleIOVolumeSource | None = None
    storageos: StorageOSVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    image: ImageVolumeSource | None = None

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        if not data.keys() - {"name"}:
            data["emptyDir"] = {}

    def sources(self) -> list[str]:
        """The names of the attributes that are set, but for `name`."""
        return [name for name in VOLUME_SOURCES if getattr(self, name) is not None]


VOLUME_SOURCES = tuple(name for name in Volume.model_fields if name != "name")
