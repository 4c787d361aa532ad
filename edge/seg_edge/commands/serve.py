"""`seg-edge serve`."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from seg_edge.commands.console import note
from seg_edge.commands.options import ADDRESS_PANEL, LIMITS_PANEL, MODEL_PANEL
from seg_edge.errors import UsageError


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A bundled model's name or a .tflite file; may be given more than once.",
            show_default="all bundled",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    on_server: Annotated[
        bool,
        typer.Option(
            "--on-server",
            help="Let the page also offer to upload photos and segment them here.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; one that other machines can reach needs a token.", rich_help_panel=ADDRESS_PANEL
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.", rich_help_panel=ADDRESS_PANEL),
    ] = 8000,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Host name under which a proxy forwards requests; may be given more than once.",
            show_default="none",
            rich_help_panel=ADDRESS_PANEL,
        ),
    ] = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="SEG_EDGE_TOKEN",
            help="Secret that clients must send; better set as SEG_EDGE_TOKEN, as other users can see command lines.",
            show_default="none",
            rich_help_panel=ADDRESS_PANEL,
        ),
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Photos segmented at once.", show_default="the cores", rich_help_panel=LIMITS_PANEL
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, max=1000, help="Photos that may wait for a worker.", rich_help_panel=LIMITS_PANEL)
    ] = 64,
    max_mb: Annotated[
        float, typer.Option(min=0.01, max=500, help="Largest upload, in megabytes.", rich_help_panel=LIMITS_PANEL)
    ] = 16,
    max_megapixels: Annotated[
        float, typer.Option(min=0.01, max=120, help="Largest photo, in megapixels.", rich_help_panel=LIMITS_PANEL)
    ] = 16,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=600,
            help="Seconds for a photo to arrive, and then to be segmented.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 30,
) -> None:
    """Serve the page that segments in the browser, and the HTTP API, until Ctrl-C."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"'seg-edge serve' needs packages that are not installed ({error.name}): "
            "pip install fastapi uvicorn h11 prometheus-client segno"
        ) from error
    from seg_edge.serve.server import serve as run
    from seg_edge.serve.settings import ServeSettings

    run(
        ServeSettings(
            models=tuple(model or ()),
            host=host,
            port=port,
            names=tuple(name or ()),
            token=token,
            workers=workers or 0,
            queue=queue,
            max_bytes=round(max_mb * 1e6),
            max_pixels=round(max_megapixels * 1e6),
            seconds=timeout,
            on_server=on_server,
            command=shlex.join(["seg-edge", *sys.argv[1:]]),
        ),
        note,
    )
