"""Every metric name and every log field, in one place.

Names and labels are a contract (docs/metrics.md): dashboards and alerts are written
against them. Labels hold bounded values only: kinds, reasons, actions; never names
of objects, error texts or revisions, but for `_info` series.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Telemetry:
    """The metrics of one daemon, in a registry of their own, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        r = self.registry
        c = ["controller"]
        # controller-runtime's names: its dashboards and alerts work unchanged
        self.reconcile_total = Counter(
            "controller_runtime_reconcile_total", "Passes, by controller and result.", [*c, "result"], registry=r
        )
        self.reconcile_errors_total = Counter(
            "controller_runtime_reconcile_errors_total", "Passes that failed.", c, registry=r
        )
        self.reconcile_time_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds", "Length of a pass.", c, buckets=BUCKETS, registry=r
        )
        self.active_workers = Gauge("controller_runtime_active_workers", "Passes under way.", c, registry=r)
        self.max_concurrent_reconciles = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Passes that may be under way at once.", c, registry=r
        )
        q = ["name", "controller"]
        self.queue_depth = Gauge("workqueue_depth", "Refs waiting.", q, registry=r)
        self.queue_adds_total = Counter("workqueue_adds_total", "Refs added.", q, registry=r)
        self.queue_duration_seconds = Histogram(
            "workqueue_queue_duration_seconds", "Time from due to taken.", q, buckets=BUCKETS, registry=r
        )
        self.work_duration_seconds = Histogram(
            "workqueue_work_duration_seconds", "Time from taken to done.", q, buckets=BUCKETS, registry=r
        )
        self.unfinished_work_seconds = Gauge(
            "workqueue_unfinished_work_seconds", "Sum of the ages of all passes under way.", q, registry=r
        )
        self.longest_running_seconds = Gauge(
            "workqueue_longest_running_processor_seconds", "Age of the oldest pass under way.", q, registry=r
        )
        self.retries_total = Counter("workqueue_retries_total", "Refs taken again after a failure.", q, registry=r)
        # ours
        self.build_info = Gauge("reconciler_build_info", "1; what runs.", ["version", "python"], registry=r)
        self.source_info = Gauge(
            "reconciler_source_info", "1; the revision applied.", ["source", "revision"], registry=r
        )
        self.source_last_success = Gauge(
            "reconciler_source_last_success_timestamp_seconds", "When the source was last read.", ["source"], registry=r
        )
        self.source_load_seconds = Histogram(
            "reconciler_source_load_seconds", "Reading and parsing the source.", ["source"], buckets=BUCKETS, registry=r
        )
        self.manifest_objects = Gauge("reconciler_manifest_objects", "Objects declared.", ["kind"], registry=r)
        self.manifest_problems = Gauge("reconciler_manifest_problems", "Errors in manifests.", ["source"], registry=r)
        self.drift_objects = Gauge("reconciler_drift_objects", "Objects not as declared.", ["kind"], registry=r)
        self.drift_corrected_total = Counter(
            "reconciler_drift_corrected_total", "Drift put right.", ["kind", "reason"], registry=r
        )
        self.actions_total = Counter("reconciler_actions_total", "Steps carried out.", ["action", "result"], registry=r)
        self.action_seconds = Histogram(
            "reconciler_action_seconds", "Length of a step.", ["action"], buckets=BUCKETS, registry=r
        )
        self.convergence_seconds = Histogram(
            "reconciler_convergence_seconds", "File change to all ready.", buckets=BUCKETS, registry=r
        )
        self.in_sync = Gauge("reconciler_in_sync", "1 when all that is declared runs.", registry=r)
        self.prune_blocked = Gauge("reconciler_prune_blocked", "1 while a removal is held back.", registry=r)
        self.image_pull_seconds = Histogram(
            "reconciler_image_pull_seconds", "Length of a pull.", buckets=BUCKETS, registry=r
        )
        self.image_pull_bytes_total = Counter("reconciler_image_pull_bytes_total", "Bytes pulled.", registry=r)
        self.images = Gauge("reconciler_images", "Images in the store.", registry=r)
        self.image_store_bytes = Gauge(
            "reconciler_image_store_bytes", "What images take on disk: blobs, layers.", ["part"], registry=r
        )
        self.images_freed_bytes_total = Counter(
            "reconciler_images_freed_bytes_total", "Bytes that removing unused images has freed.", registry=r
        )
        self.engine_containers = Gauge("reconciler_engine_containers", "Containers, by state.", ["state"], registry=r)
        # the kubelet's names
        self.running_pods = Gauge("kubelet_running_pods", "Pods whose sandbox is up.", registry=r)
        self.running_containers = Gauge(
            "kubelet_running_containers", "Containers, by state.", ["container_state"], registry=r
        )
        self.node_name = Gauge("kubelet_node_name", "1; the name of this node.", ["node"], registry=r)
        self.pod_start_seconds = Histogram(
            "kubelet_pod_start_duration_seconds", "Declared to running.", buckets=BUCKETS, registry=r
        )
        self.pod_worker_seconds = Histogram(
            "kubelet_pod_worker_duration_seconds",
            "Length of a pod's pass.",
            ["operation_type"],
            buckets=BUCKETS,
            registry=r,
        )
        self.relist_seconds = Histogram(
            "kubelet_pleg_relist_duration_seconds", "Length of a relist.", buckets=BUCKETS, registry=r
        )
        self.images_removed_total = Counter(
            "kubelet_image_garbage_collected_total", "Unused images removed, by why.", ["reason"], registry=r
        )
        self.runtime_operations_total = Counter(
            "kubelet_runtime_operations_total", "Steps, by type.", ["operation_type"], registry=r
        )
