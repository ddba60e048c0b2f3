"""The command line."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rollbook import __version__
from rollbook.core.errors import RollbookError

app = typer.Typer(
    name="rollbook",
    help="Keeps the roll book of a Kubernetes cluster: which artifact, by digest, is deployed where.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def operator(  # noqa: PLR0913 - one parameter a flag
    *,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; without it the pod's ServiceAccount, else kubectl's.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="This cluster's name, part of every slot's key.", envvar="ROLLBOOK_CLUSTER")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="The operator's own namespace.", envvar="ROLLBOOK_NAMESPACE")
    ] = None,
    listen_host: Annotated[
        str | None, typer.Option(help="Address of /healthz, /readyz, /metrics.", envvar="ROLLBOOK_LISTEN_HOST")
    ] = None,
    listen_port: Annotated[
        int | None, typer.Option(help="Port of the same, 0 for a free one.", envvar="ROLLBOOK_LISTEN_PORT")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", envvar="ROLLBOOK_LOG_LEVEL")
    ] = None,
) -> None:
    """Watch rollouts, keep the slots, deliver to the tracking sinks.

    Every setting is also an environment variable ROLLBOOK_<NAME>; docs/settings.md lists them.

    Example: rollbook operator --kubeconfig ~/.kube/config --cluster prod-eu
    """
    from rollbook import logs  # noqa: PLC0415 - kopf and the rest take a second to import; --help should not
    from rollbook.operator.lifecycle import run  # noqa: PLC0415 - likewise
    from rollbook.settings import Settings  # noqa: PLC0415 - likewise

    def start() -> Coroutine[Any, Any, None]:
        settings = Settings.load(
            kubeconfig=kubeconfig,
            cluster=cluster,
            namespace=namespace,
            listen_host=listen_host,
            listen_port=listen_port,
            log_level=log_level,
        )
        logs.configure(settings.log_level)
        return run(settings)

    _run(start)


@app.command()
def tracker(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.", envvar="ROLLBOOK_TRACKER_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port, 0 for a free one.", envvar="ROLLBOOK_TRACKER_PORT")] = 8484,
    database: Annotated[
        Path, typer.Option(help="SQLite file, made at first start.", envvar="ROLLBOOK_TRACKER_DATABASE")
    ] = Path("tracker.db"),
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the access token; without it one is generated beside the database.",
            envvar="ROLLBOOK_TRACKER_TOKEN_FILE",
        ),
    ] = None,
    public_page: Annotated[
        bool,
        typer.Option(help="Let anyone read the page at /.", envvar="ROLLBOOK_TRACKER_PUBLIC_PAGE"),
    ] = False,
) -> None:
    """Serve the embedded tracker: Chainloop's and LaunchDarkly's calls, and a page that shows what runs where.

    Example: rollbook tracker --database /var/lib/rollbook/tracker.db --port 8484
    """
    from rollbook import logs  # noqa: PLC0415 - only this command needs the extra `tracker`
    from rollbook.tracker.server import serve  # noqa: PLC0415 - likewise
    from rollbook.tracker.settings import TrackerConfigError, TrackerSettings  # noqa: PLC0415 - likewise

    logs.configure("info")
    settings = TrackerSettings(
        host=host, port=port, database=database, token_file=token_file, public_page=public_page
    )
    _run(lambda: serve(settings), TrackerConfigError)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _run(start: Callable[[], Coroutine[Any, Any, None]], *also: type[Exception]) -> None:
    """Run to the end; an error that names what to do is one line on stderr and exit code 1."""
    told: tuple[type[Exception], ...] = (RollbookError, *also)
    try:
        asyncio.run(start())
    except told as error:
        line = " ".join(f"rollbook: {error}".split())
        Console(stderr=True, soft_wrap=True, emoji=False, highlight=False).print(line, style="red", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """Entry point."""
    app()
