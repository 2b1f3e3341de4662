"""`reconciler build`: a Dockerfile becomes an image of the store."""

from __future__ import annotations

import os
from pathlib import Path

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.validate import problem_line


@click.command(
    epilog="""\b
--check runs nothing: it names what is wrong or could be better, by the names of hadolint's and BuildKit's rules.
`# hadolint ignore=DL3007` above an instruction, or `# check=skip=RULE` at the top, silences one.
The exit code is 1 for a syntax error; warnings do not count.
\b
Examples:
  reconciler build -t web:1 .
  reconciler build -t web:dev -f deploy/Dockerfile --target dev --build-arg VERSION=3 .
  reconciler build -t web:1 -t registry.example.com/web:1 --secret id=token,src=token.txt .
  reconciler build --check .
"""
)
@click.argument("context", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="The name of the image; may be repeated."
)
@click.option("-f", "--file", "dockerfile", type=click.Path(exists=True, dir_okay=False), help="Else DIR/Dockerfile.")
@click.option("--target", default="", help="The stage to build, else the last.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME[=VALUE]", help="A value for an ARG.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID,src=FILE", help="For RUN --mount=type=secret,id=ID.")
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option("--check", is_flag=True, help="Look at the Dockerfile, and build nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
@click.pass_context
def command(
    ctx: click.Context,
    session: Session,
    context: str,
    tags: tuple[str, ...],
    dockerfile: str | None,
    target: str,
    arguments: tuple[str, ...],
    secrets: tuple[str, ...],
    no_cache: bool,
    check: bool,
    quiet: bool,
) -> None:
    """Build an image from the Dockerfile in DIR."""
    if check:
        ctx.exit(_check(context, dockerfile))
    if not tags:
        raise click.UsageError("Missing option '-t' / '--tag': the image needs a name.")
    order = {
        "context": os.path.abspath(context),
        "reference": tags[0],
        "also": tags[1:],
        "dockerfile": os.path.abspath(dockerfile) if dockerfile else "",
        "target": target,
        "buildArgs": parse_arguments(arguments),
        "secrets": parse_secrets(secrets),
        "noCache": no_cache,
    }
    with session.client() as client:
        follow(client.stream("POST", f"{OWN}/images/build", order), f"building {tags[0]}", quiet=quiet)


def _check(context: str, dockerfile: str | None) -> int:
    """Print what there is to say about the Dockerfile. Returns: the exit code."""
    from reconciler.manifest.problems import errors
    from reconciler.runtimes.native.images.advice import check_dockerfile
    from reconciler.runtimes.native.images.build import Order

    order = Order(Path(context), os.path.abspath(dockerfile) if dockerfile else "")
    path = order.find_dockerfile()
    problems = check_dockerfile(
        path.read_text(errors="replace"),
        os.path.relpath(path),
        has_dockerignore=order.find_ignore_file(path) is not None,
    )
    for problem in problems:
        click.echo(problem_line(problem, colour=colourful()))
    if not problems:
        click.echo(f"{os.path.relpath(path)}: no problems", err=True)
    return 1 if errors(problems) else 0


def parse_arguments(arguments: tuple[str, ...]) -> dict[str, str]:
    """Read `NAME=VALUE`; a bare NAME takes its value from the environment, and is left out without one."""
    found = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def parse_secrets(secrets: tuple[str, ...]) -> dict[str, str]:
    """Read `id=ID,src=FILE` into absolute paths by id. Raises: click.BadParameter."""
    found = {}
    for text in secrets:
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        source = fields.pop("src", "") or fields.pop("source", "")
        name = fields.pop("id", "")
        if fields.pop("type", "file") != "file" or fields or not name or not source:
            raise click.BadParameter(f"{text!r}: expected id=ID,src=FILE", param_hint="'--secret'")
        if not os.path.isfile(source):
            raise click.BadParameter(f"{name}: there is no file {source}", param_hint="'--secret'")
        found[name] = os.path.abspath(source)
    return found
