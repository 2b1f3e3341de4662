"""The overview dashboard, as code: what runs, what does not, in sync or not, and how long things take.

`make dashboards` writes `overview.json` from it; a test regenerates and compares. Every panel has a
query that gives data from the first scrape of a healthy daemon: zero is drawn as zero, so that an
empty panel always means that something is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

OUTPUT = Path(__file__).with_suffix(".json")
DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="$datasource")
SELECT = 'job="reconciler",instance=~"$instance"'

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True)
class Query:
    """One expression. `$s` in it stands for the label selectors of this dashboard."""

    expression: str
    legend: str

    def build(self, letter: str, *, instant: bool = False) -> prometheus.Dataquery:
        query = (
            prometheus.Dataquery()
            .datasource(DATASOURCE)
            .expr(self.expression.replace("$s", SELECT))
            .legend_format(self.legend)
            .ref_id(letter)
        )
        return query.instant() if instant else query.range()


@dataclass(frozen=True)
class Tile:
    """One number. `steps` are (from, colour); `words` names values; `text` shows the legend instead."""

    title: str
    description: str
    query: Query
    unit: str = "short"
    steps: tuple[tuple[float | None, str], ...] = ((None, BLUE),)
    words: tuple[tuple[str, str, str], ...] = ()
    text: bool = False

    def build(self, number: int) -> stat.Panel:
        panel = (
            stat.Panel()
            .id(number)
            .title(self.title)
            .description(self.description)
            .datasource(DATASOURCE)
            .unit(self.unit)
            .span(4)
            .height(4)
            .with_target(self.query.build("A", instant=True))
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
            .graph_mode(common_model.BigValueGraphMode.NONE)
            .color_mode(common_model.BigValueColorMode.BACKGROUND)
            .thresholds(
                dashboard.ThresholdsConfig()
                .mode(model.ThresholdsMode.ABSOLUTE)
                .steps([model.Threshold(value=value, color=color) for value, color in self.steps])
            )
        )
        if self.text:
            panel = panel.text_mode(common_model.BigValueTextMode.NAME)
        if self.words:
            panel = panel.mappings(
                [
                    model.ValueMap(
                        options={
                            value: model.ValueMappingResult(text=text, color=color, index=index)
                            for index, (value, text, color) in enumerate(self.words)
                        },
                    )
                ]
            )
        return panel


@dataclass(frozen=True)
class Graph:
    """Lines over time."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    stacked: bool = False

    def build(self, number: int) -> timeseries.Panel:
        panel = (
            timeseries.Panel()
            .id(number)
            .title(self.title)
            .description(self.description)
            .datasource(DATASOURCE)
            .unit(self.unit)
            .min(0)
            .span(8)
            .height(8)
            .line_width(1)
            .fill_opacity(25 if self.stacked else 8)
            .show_points(common_model.VisibilityMode.NEVER)
            .legend(
                common.VizLegendOptions()
                .display_mode(common_model.LegendDisplayMode.LIST)
                .placement(common_model.LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            .tooltip(
                common.VizTooltipOptions()
                .mode(common_model.TooltipDisplayMode.MULTI)
                .sort(common_model.SortOrder.DESCENDING)
            )
        )
        if self.stacked:
            panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
        for letter, query in zip("ABCDEF", self.queries, strict=False):
            panel = panel.with_target(query.build(letter))
        return panel


def _quantiles(histogram: str, by: str = "") -> tuple[Query, ...]:
    """Median and 99th percentile. `NaN` (nothing happened in the interval) is drawn as zero."""
    group = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        Query(
            f"(histogram_quantile({q}, sum by ({group}) (rate({histogram}_bucket{{$s}}[$__rate_interval]))) >= 0)"
            " or on() vector(0)",
            f"{name}{legend}",
        )
        for q, name in ((0.5, "median"), (0.99, "99th percentile"))
    )


NOW = (
    Tile(
        "In sync",
        "Whether all that the manifests declare runs, as declared.",
        Query("min(reconciler_in_sync{$s})", "in sync"),
        steps=((None, RED), (1, GREEN)),
        words=(("0", "no", RED), ("1", "yes", GREEN)),
    ),
    Tile("Pods running", "Pods whose sandbox is up.", Query("sum(kubelet_running_pods{$s})", "pods")),
    Tile(
        "Containers not running",
        "Containers that exited, are paused, or are broken, or wait to be started.",
        Query('sum(reconciler_engine_containers{$s,state!="running"}) or on() vector(0)', "not running"),
        steps=((None, GREEN), (1, YELLOW)),
    ),
    Tile(
        "Objects not as declared",
        "Drift that is not put right yet: objects whose containers are missing, old, or unwanted.",
        Query("sum(reconciler_drift_objects{$s}) or on() vector(0)", "objects"),
        steps=((None, GREEN), (1, YELLOW)),
    ),
    Tile(
        "Errors in manifests",
        "`reconciler validate` lists them, with file and line. What was good before them goes on running.",
        Query("sum(reconciler_manifest_problems{$s}) or on() vector(0)", "errors"),
        steps=((None, GREEN), (1, RED)),
    ),
    Tile(
        "Removal held back",
        "Whether everything vanished from the folder at once, and nothing is removed until that is confirmed.",
        Query("max(reconciler_prune_blocked{$s})", "held back"),
        steps=((None, GREEN), (1, RED)),
        words=(("0", "no", GREEN), ("1", "yes", RED)),
    ),
    Tile(
        "Revision",
        "The revision of the source that is applied.",
        Query("reconciler_source_info{$s}", "{{revision}}"),
        text=True,
    ),
    Tile(
        "Source last read",
        "How long ago the manifests were last read without an error of the source itself.",
        Query("time() - max(reconciler_source_last_success_timestamp_seconds{$s})", "ago"),
        unit="s",
    ),
    Tile(
        "Objects declared",
        "All objects of the source, namespaces, ConfigMaps and Secrets too.",
        Query("sum(reconciler_manifest_objects{$s})", "objects"),
    ),
    Tile(
        "Restarts, last hour",
        "Containers that exited and were started again.",
        Query('sum(increase(reconciler_drift_corrected_total{$s,reason="Exited"}[1h])) or on() vector(0)', "restarts"),
        steps=((None, GREEN), (1, YELLOW), (10, RED)),
    ),
    Tile(
        "Up for",
        "How long the daemon has been running. Its containers outlive it.",
        Query("time() - min(process_start_time_seconds{$s})", "up"),
        unit="s",
    ),
    Tile("Version", "What runs.", Query("reconciler_build_info{$s}", "{{version}}"), text=True),
)

RUNS = (
    Graph(
        "Containers",
        "Containers of this engine, by state. Exited ones are kept for their logs, one of each name.",
        (Query("sum by (state) (reconciler_engine_containers{$s})", "{{state}}"),),
        stacked=True,
    ),
    Graph(
        "Declared objects",
        "What the manifests declare, by kind.",
        (Query("sum by (kind) (reconciler_manifest_objects{$s})", "{{kind}}"),),
        stacked=True,
    ),
    Graph(
        "Not as declared",
        "Objects that differ from their manifests, and errors in manifests.",
        (
            Query("sum by (kind) (reconciler_drift_objects{$s}) or on() vector(0)", "drift {{kind}}"),
            Query("sum(reconciler_manifest_problems{$s}) or on() vector(0)", "errors in manifests"),
        ),
    ),
    Graph(
        "In sync",
        "Share of the time in which all that is declared ran.",
        (Query("min(avg_over_time(reconciler_in_sync{$s}[$__rate_interval]))", "in sync"),),
        unit="percentunit",
    ),
    Graph(
        "Healed",
        "What was put right, by why: Exited is a restart, Broken something destroyed from outside.",
        (
            Query(
                "sum by (reason) (increase(reconciler_drift_corrected_total{$s}[$__rate_interval])) or on() vector(0)",
                "{{reason}}",
            ),
        ),
    ),
    Graph(
        "Convergence",
        "From a change of a file to everything ready.",
        _quantiles("reconciler_convergence_seconds"),
        unit="s",
    ),
)

LOOP = (
    Graph(
        "Reconcile time",
        "Length of a pass over one object.",
        _quantiles("controller_runtime_reconcile_time_seconds"),
        unit="s",
    ),
    Graph(
        "Passes",
        "Passes a second, by result. An error is tried again, later and later.",
        (
            Query(
                "sum by (result) (rate(controller_runtime_reconcile_total{$s}[$__rate_interval])) or on() vector(0)",
                "{{result}}",
            ),
        ),
        unit="ops",
    ),
    Graph(
        "Queue",
        "Objects that wait for a pass, and passes under way.",
        (
            Query("sum(workqueue_depth{$s})", "waiting"),
            Query("sum(controller_runtime_active_workers{$s})", "under way"),
        ),
    ),
    Graph(
        "Actions",
        "Steps carried out, a second.",
        (
            Query(
                "sum by (action) (rate(reconciler_actions_total{$s}[$__rate_interval])) or on() vector(0)", "{{action}}"
            ),
            Query(
                'sum(rate(reconciler_actions_total{$s,result!="success"}[$__rate_interval])) or on() vector(0)',
                "failed",
            ),
        ),
        unit="ops",
    ),
    Graph(
        "Length of actions",
        "99th percentile, by action.",
        (
            Query(
                "(histogram_quantile(0.99, sum by (le, action)"
                " (rate(reconciler_action_seconds_bucket{$s}[$__rate_interval]))) >= 0) or on() vector(0)",
                "{{action}}",
            ),
        ),
        unit="s",
    ),
    Graph(
        "Reading and relisting",
        "99th percentile of reading and parsing the source, and of looking at all that runs.",
        (
            _quantiles("reconciler_source_load_seconds")[1],
            Query(_quantiles("kubelet_pleg_relist_duration_seconds")[1].expression, "relist"),
        ),
        unit="s",
    ),
    Graph(
        "Daemon: CPU",
        "Cores that the daemon itself uses. Idle it is next to none.",
        (Query("sum(rate(process_cpu_seconds_total{$s}[$__rate_interval]))", "cores"),),
    ),
    Graph(
        "Daemon: memory",
        "Resident memory of the daemon itself.",
        (Query("sum(process_resident_memory_bytes{$s})", "resident"),),
        unit="bytes",
    ),
    Graph(
        "Pulls",
        "Bytes fetched from registries, a second.",
        (Query("sum(rate(reconciler_image_pull_bytes_total{$s}[$__rate_interval]))", "bytes a second"),),
        unit="Bps",
    ),
)


def build() -> str:
    """The dashboard as Grafana's JSON, with a newline at its end."""
    board = (
        dashboard.Dashboard("Reconciler / Overview")
        .uid("reconciler-overview")
        .description("What runs, what does not, in sync or not, and how long it takes.")
        .tags(["reconciler"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Instance")
            .datasource(DATASOURCE)
            .query('label_values(reconciler_build_info{job="reconciler"}, instance)')
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
        )
    )
    number = 0
    for title, panels in (("Now", NOW), ("What runs", RUNS), ("The loop", LOOP)):
        number += 1
        board = board.with_row(dashboard.Row(title).id(number))
        for panel in panels:
            number += 1
            board = board.with_panel(panel.build(number))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(build())
