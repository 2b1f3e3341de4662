"""Volumes that live outside the machine: accepted, typed, and not carried out."""

from typing import Literal

from pydantic import Field

from reconciler.model.fields import Amounts, Flag, Int32, Text, TextMap, Texts
from reconciler.model.meta import Declared, LabelSelector, ObjectMeta


class LocalObjectReference(Declared):
    name: Text = ""


class TypedLocalObjectReference(Declared):
    api_group: Text | None = None
    kind: Text = ""
    name: Text = ""


class TypedObjectReference(Declared):
    api_group: Text | None = None
    kind: Text = ""
    name: Text = ""
    namespace: Text | None = None


class VolumeResourceRequirements(Declared):
    limits: Amounts = Field(default_factory=dict)
    requests: Amounts = Field(default_factory=dict)


class PersistentVolumeClaimSpec(Declared):
    access_modes: Texts = ()
    selector: LabelSelector | None = None
    resources: VolumeResourceRequirements = Field(default_factory=VolumeResourceRequirements)
    volume_name: Text = ""
    storage_class_name: Text | None = None
    volume_mode: Literal["Block", "Filesystem"] = "Filesystem"
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedObjectReference | None = None
    volume_attributes_class_name: Text | None = None


class PersistentVolumeClaimTemplate(Declared):
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: PersistentVolumeClaimSpec = Field(default_factory=PersistentVolumeClaimSpec)


class EphemeralVolumeSource(Declared):
    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class PersistentVolumeClaimVolumeSource(Declared):
    claim_name: Text = ""
    read_only: Flag = False


class AWSElasticBlockStoreVolumeSource(Declared):
    volume_id: Text = ""
    fs_type: Text = ""
    partition: Int32 = 0
    read_only: Flag = False


class AzureDiskVolumeSource(Declared):
    disk_name: Text = ""
    disk_uri: Text = Field(default="", alias="diskURI")
    caching_mode: Literal["None", "ReadOnly", "ReadWrite"] = "ReadWrite"
    fs_type: Text = "ext4"
    read_only: Flag | None = False
    kind: Literal["Shared", "Dedicated", "Managed"] = "Shared"


class AzureFileVolumeSource(Declared):
    secret_name: Text = ""
    share_name: Text = ""
    read_only: Flag = False


class CephFSVolumeSource(Declared):
    monitors: Texts = ()
    path: Text = ""
    user: Text = ""
    secret_file: Text = ""
    secret_ref: LocalObjectReference | None = None
    read_only: Flag = False


class CinderVolumeSource(Declared):
    volume_id: Text = ""
    fs_type: Text = ""
    read_only: Flag = False
    secret_ref: LocalObjectReference | None = None


class CSIVolumeSource(Declared):
    driver: Text = ""
    read_only: Flag | None = None
    fs_type: Text | None = None
    volume_attributes: TextMap = Field(default_factory=dict)
    node_publish_secret_ref: LocalObjectReference | None = None


class FCVolumeSource(Declared):
    target_wwns: Texts = ()
    lun: Int32 | None = None
    fs_type: Text = ""
    read_only: Flag = False
    wwids: Texts = ()


class FlexVolumeSource(Declared):
    driver: Text = ""
    fs_type: Text = ""
    secret_ref: LocalObjectReference | None = None
    read_only: Flag = False
    options: TextMap = Field(default_factory=dict)


class FlockerVolumeSource(Declared):
    dataset_name: Text = ""
    dataset_uuid: Text = ""


class GCEPersistentDiskVolumeSource(Declared):
    pd_name: Text = ""
    fs_type: Text = ""
    partition: Int32 = 0
    read_only: Flag = False


class GitRepoVolumeSource(Declared):
    repository: Text = ""
    revision: Text = ""
    directory: Text = ""


class GlusterfsVolumeSource(Declared):
    endpoints: Text = ""
    path: Text = ""
    read_only: Flag = False


class ISCSIVolumeSource(Declared):
    always_shown = frozenset({"lun"})

    target_portal: Text = ""
    iqn: Text = ""
    lun: Int32 = 0
    iscsi_interface: Text = "default"
    fs_type: Text = ""
    read_only: Flag = False
    portals: Texts = ()
    chap_auth_discovery: Flag = False
    chap_auth_session: Flag = False
    secret_ref: LocalObjectReference | None = None
    initiator_name: Text | None = None


class NFSVolumeSource(Declared):
    server: Text = ""
    path: Text = ""
    read_only: Flag = False


class PhotonPersistentDiskVolumeSource(Declared):
    pd_id: Text = ""
    fs_type: Text = ""


class PortworxVolumeSource(Declared):
    volume_id: Text = ""
    fs_type: Text = ""
    read_only: Flag = False


class QuobyteVolumeSource(Declared):
    registry: Text = ""
    volume: Text = ""
    read_only: Flag = False
    user: Text = ""
    group: Text = ""
    tenant: Text = ""


class RBDVolumeSource(Declared):
    monitors: Texts = ()
    image: Text = ""
    fs_type: Text = ""
    pool: Text = "rbd"
    user: Text = "admin"
    keyring: Text = "/etc/ceph/keyring"
    secret_ref: LocalObjectReference | None = None
    read_only: Flag = False


class ScaleIOVolumeSource(Declared):
    gateway: Text = ""
    system: Text = ""
    secret_ref: LocalObjectReference | None = None
    ssl_enabled: Flag = False
    protection_domain: Text = ""
    storage_pool: Text = ""
    storage_mode: Text = "ThinProvisioned"
    volume_name: Text = ""
    fs_type: Text = "xfs"
    read_only: Flag = False


class StorageOSVolumeSource(Declared):
    volume_name: Text = ""
    volume_namespace: Text = ""
    fs_type: Text = ""
    read_only: Flag = False
    secret_ref: LocalObjectReference | None = None


class VsphereVirtualDiskVolumeSource(Declared):
    volume_path: Text = ""
    fs_type: Text = ""
    storage_policy_name: Text = ""
    storage_policy_id: Text = ""
