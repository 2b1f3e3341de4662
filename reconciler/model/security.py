"""What processes may do: the security contexts of pods and containers."""

from typing import Literal

from reconciler.model.fields import Flag, Int64, Text, Texts
from reconciler.model.meta import Declared


class SELinuxOptions(Declared):
    user: Text = ""
    role: Text = ""
    type: Text = ""
    level: Text = ""


class WindowsSecurityContextOptions(Declared):
    gmsa_credential_spec_name: Text | None = None
    gmsa_credential_spec: Text | None = None
    run_as_user_name: Text | None = None
    host_process: Flag | None = None


class SeccompProfile(Declared):
    type: Literal["Localhost", "RuntimeDefault", "Unconfined"] | None = None
    localhost_profile: Text | None = None


class AppArmorProfile(Declared):
    type: Literal["Localhost", "RuntimeDefault", "Unconfined"] | None = None
    localhost_profile: Text | None = None


class Capabilities(Declared):
    """Names without `CAP_`, or `ALL`."""

    add: Texts = ()
    drop: Texts = ()


class SecurityContext(Declared):
    """Of a container. What is None here comes from the pod's, then from the image."""

    capabilities: Capabilities | None = None
    privileged: Flag | None = None
    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsSecurityContextOptions | None = None
    run_as_user: Int64 | None = None
    run_as_group: Int64 | None = None
    run_as_non_root: Flag | None = None
    read_only_root_filesystem: Flag | None = None
    allow_privilege_escalation: Flag | None = None
    proc_mount: Literal["Default", "Unmasked"] | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None


class Sysctl(Declared):
    always_shown = frozenset({"value"})

    name: Text = ""
    value: Text = ""


class PodSecurityContext(Declared):
    """Of all containers of a pod, where they do not say otherwise."""

    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsSecurityContextOptions | None = None
    run_as_user: Int64 | None = None
    run_as_group: Int64 | None = None
    run_as_non_root: Flag | None = None
    supplemental_groups: tuple[Int64, ...] = ()
    supplemental_groups_policy: Literal["Merge", "Strict"] | None = None
    fs_group: Int64 | None = None
    sysctls: tuple[Sysctl, ...] = ()
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    se_linux_change_policy: Literal["Recursive", "MountOption"] | None = None
