"""`reconciler logs`: what a container wrote."""

from __future__ import annotations

import sys

import click

from reconciler.cli.ages import read_duration
from reconciler.cli.complete import complete_container, complete_container_name
from reconciler.cli.kinds import BY_KIND
from reconciler.cli.session import Session, pass_session
from reconciler.cli.target import find_target


@click.command(
    epilog="""\b
NAME is a pod, kind/name, pod/container as `ps` prints it, a container's name, or the beginning of its id.
\b
Examples:
  reconciler logs web-0                      all of it
  reconciler logs -f --tail 20 deploy/web    the last lines of a pod of the deployment, and what follows
  reconciler logs -p web-0                   of the container before it was restarted
  reconciler logs --since 10m -t 4f1c        with times, by container id
"""
)
@click.argument("target", metavar="NAME", shell_complete=complete_container)
@click.option(
    "-c", "--container", default="", help="Which container of the pod.", shell_complete=complete_container_name
)
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace of the pod.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written, until the container ends.")
@click.option("--tail", type=click.IntRange(min=-1), default=-1, help="Only the last lines; -1 is all.")
@click.option("--since", metavar="TIME", callback=read_duration, help="Only what is younger: 30s, 5m, 2h.")
@click.option("-t", "--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("-p", "--previous", is_flag=True, help="Of the container before the last restart.")
@pass_session
def command(
    session: Session,
    target: str,
    container: str,
    namespace: str,
    follow: bool,
    tail: int,
    since: float | None,
    timestamps: bool,
    previous: bool,
) -> None:
    """Print the logs of a container."""
    with session.client() as client:
        found = find_target(client, target, namespace, container)
        lines = client.lines(
            BY_KIND["Pod"].path(found.namespace, found.pod) + "/log",
            container=found.container,
            follow=follow or None,
            tailLines=tail if tail >= 0 else None,
            sinceSeconds=max(1, round(since)) if since is not None else None,
            timestamps=timestamps or None,
            previous=previous or found.superseded or None,
        )
        out = sys.stdout.buffer
        for line in lines:
            out.write(line)
            if follow:
                out.flush()
