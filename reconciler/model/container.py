"""Containers of a pod: what runs, with what around it."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.model.fields import Amounts, Flag, Int32, Int64, IntOrText, Quantity, Text, Texts
from reconciler.model.meta import Declared
from reconciler.model.reference import pull_policy
from reconciler.model.security import SecurityContext

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Signal = Literal[
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
    "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP",
    "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
    "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4",
    "SIGRTMIN+5", "SIGRTMIN+6", "SIGRTMIN+7", "SIGRTMIN+8", "SIGRTMIN+9", "SIGRTMIN+10", "SIGRTMIN+11",
    "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15", "SIGRTMAX-14", "SIGRTMAX-13", "SIGRTMAX-12",
    "SIGRTMAX-11", "SIGRTMAX-10", "SIGRTMAX-9", "SIGRTMAX-8", "SIGRTMAX-7", "SIGRTMAX-6", "SIGRTMAX-5",
    "SIGRTMAX-4", "SIGRTMAX-3", "SIGRTMAX-2", "SIGRTMAX-1", "SIGRTMAX",
]  # fmt: skip


class ContainerPort(Declared):
    name: Text = ""
    host_port: Int32 = 0
    container_port: Int32 = 0
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    host_ip: Text = ""


class ObjectFieldSelector(Declared):
    """A field of the pod, such as `metadata.labels['app']`."""

    api_version: Text = "v1"
    field_path: Text = ""


class ResourceFieldSelector(Declared):
    """A request or limit of a container, in units of `divisor` ("0" is 1)."""

    container_name: Text = ""
    resource: Text = ""
    divisor: Quantity = "0"


class ConfigMapKeySelector(Declared):
    name: Text = ""
    key: Text = ""
    optional: Flag | None = None


class SecretKeySelector(Declared):
    name: Text = ""
    key: Text = ""
    optional: Flag | None = None


class FileKeySelector(Declared):
    """A variable of an env file that another container left in a volume."""

    volume_name: Text = ""
    path: Text = ""
    key: Text = ""
    optional: Flag | None = None


class EnvVarSource(Declared):
    """Exactly one of them is set."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: ConfigMapKeySelector | None = None
    secret_key_ref: SecretKeySelector | None = None
    file_key_ref: FileKeySelector | None = None


class EnvVar(Declared):
    name: Text = ""
    value: Text = ""
    value_from: EnvVarSource | None = None


class ConfigMapEnvSource(Declared):
    name: Text = ""
    optional: Flag | None = None


class SecretEnvSource(Declared):
    name: Text = ""
    optional: Flag | None = None


class EnvFromSource(Declared):
    """All keys of a ConfigMap or a Secret, as variables whose names begin with `prefix`."""

    prefix: Text = ""
    config_map_ref: ConfigMapEnvSource | None = None
    secret_ref: SecretEnvSource | None = None


class ResourceClaim(Declared):
    name: Text = ""
    request: Text = ""


class ResourceRequirements(Declared):
    limits: Amounts = Field(default_factory=dict)
    requests: Amounts = Field(default_factory=dict)
    claims: tuple[ResourceClaim, ...] = ()

    def with_requests(self) -> "ResourceRequirements":
        """The same, each limit without a request also as the request."""
        missing = {name: limit for name, limit in self.limits.items() if name not in self.requests}
        return self.model_copy(update={"requests": {**self.requests, **missing}}) if missing else self


class VolumeMount(Declared):
    name: Text = ""
    read_only: Flag = False
    recursive_read_only: Literal["Disabled", "IfPossible", "Enabled"] | None = None
    mount_path: Text = ""
    sub_path: Text = ""
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional"] | None = None
    sub_path_expr: Text = ""


class VolumeDevice(Declared):
    name: Text = ""
    device_path: Text = ""


class ExecAction(Declared):
    command: Texts = ()


class HTTPHeader(Declared):
    always_shown = frozenset({"value"})

    name: Text = ""
    value: Text = ""


class HTTPGetAction(Declared):
    path: Text = "/"
    port: IntOrText = 0
    host: Text = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Declared):
    port: IntOrText = 0
    host: Text = ""


class GRPCAction(Declared):
    port: Int32 = 0
    service: Text = ""


class SleepAction(Declared):
    always_shown = frozenset({"seconds"})

    seconds: Int64 = 0


class LifecycleHandler(Declared):
    """Exactly one of them is set."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Declared):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: Signal | None = None


class Probe(Declared):
    """Exactly one handler is set."""

    zero_is_unset: ClassVar[frozenset[str]] = frozenset(
        {"timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}
    )

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: Int32 = 0
    timeout_seconds: Int32 = 1
    period_seconds: Int32 = 10
    success_threshold: Int32 = 1
    failure_threshold: Int32 = 3
    termination_grace_period_seconds: Int64 | None = None


class ContainerResizePolicy(Declared):
    resource_name: Text = ""
    restart_policy: Literal["NotRequired", "RestartContainer"] | None = None


class ContainerRestartRuleOnExitCodes(Declared):
    operator: Literal["In", "NotIn"] | None = None
    values: tuple[Int32, ...] = ()


class ContainerRestartRule(Declared):
    action: Literal["Restart", "RestartAllContainers"] | None = None
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class Container(Declared):
    name: Text = ""
    image: Text = ""
    command: Texts = ()
    args: Texts = ()
    working_dir: Text = ""
    ports: tuple[ContainerPort, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements = Field(default_factory=ResourceRequirements)
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[VolumeDevice, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: Text = "/dev/termination-log"
    termination_message_policy: Literal["File", "FallbackToLogsOnError"] = "File"
    image_pull_policy: PullPolicy = "IfNotPresent"
    security_context: SecurityContext | None = None
    stdin: Flag = False
    stdin_once: Flag = False
    tty: Flag = False

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        image = data.get("image", "")
        if "imagePullPolicy" not in data and "image_pull_policy" not in data and isinstance(image, str):
            data["imagePullPolicy"] = pull_policy(image)


class EphemeralContainer(Container):
    """Never in a manifest: kubectl adds them to running pods."""

    target_container_name: Text = ""
