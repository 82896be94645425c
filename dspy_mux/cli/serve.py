"""`dspy-mux serve`: muxes behind OpenAI's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .options import AcceptLicense, Timeout, finite


def serve(  # noqa: PLR0913  (options of a verb)
    mux: Annotated[
        list[str] | None,
        typer.Option(
            help="Saved mux (JSON), as FILE or NAME=FILE. May be repeated.",
            autocompletion=completion.mux_files,
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            help="Pool file (TOML): the members of the saved muxes. Alone: a mux over them, of the "
            "file's program, or for plain chat where it names none.",
            autocompletion=completion.pool_files,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the only mux. Default: its file's.")
    ] = None,
    chat: Annotated[
        bool,
        typer.Option(
            "--chat",
            help="Send conversations to every member as they are, and compare the replies as the "
            "program's answers are.",
        ),
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8900,
    api_key_env: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of an environment variable with an API key that clients need. May be "
            "repeated."
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let anybody ask who reaches the server.")
    ] = False,
    max_cost: Annotated[
        float | None, typer.Option(callback=finite, help="US dollars that the process spends.")
    ] = None,
    max_calls: Annotated[int | None, typer.Option(min=1, help="LM calls that it makes.")] = None,
    max_cost_per_key: Annotated[
        float | None, typer.Option(callback=finite, help="US dollars that each key may spend.")
    ] = None,
    max_calls_per_key: Annotated[
        int | None, typer.Option(min=1, help="LM calls that each key may make.")
    ] = None,
    max_concurrency: Annotated[
        int, typer.Option(min=1, help="Questions that are answered at once.")
    ] = 64,
    timeout: Timeout = None,
    deadline: Annotated[
        float, typer.Option(callback=finite, help="Seconds that a question may take.")
    ] = 600.0,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request's body.")] = 8 * 2**20,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name that clients call the server by. May be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="A web page's origin that may ask, https://chat.example. Repeatable."),
    ] = None,
    image_urls: Annotated[
        bool,
        typer.Option(
            "--image-urls",
            help="Let clients name images by address, which servers that the members reach "
            "fetch, and a program's files by file_id.",
        ),
    ] = False,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Draw anew what was asked before; keep no reply on disk."),
    ] = False,
    grace: Annotated[
        float,
        typer.Option(callback=finite, help="Seconds that questions have to end when stopped."),
    ] = 30.0,
    accept_license: AcceptLicense = False,
) -> None:
    """Serve muxes by OpenAI's protocol: /v1/chat/completions, /v1/models, and a page at /."""
    from ..serve.process import Listener, run
    from ..serve.settings import ServeSettings, allowed_hosts, keys_from_environment
    from ..serve.sources import Sources

    sources = Sources.of(
        mux or [], pool, name, chat=chat, timeout=timeout, accept_license=accept_license
    )
    settings = ServeSettings(
        keys=keys_from_environment(api_key_env or []),
        max_concurrency=max_concurrency,
        max_calls=max_calls,
        max_cost=max_cost,
        max_calls_per_key=max_calls_per_key,
        max_cost_per_key=max_cost_per_key,
        deadline=deadline,
        max_body=max_body,
        hosts=allowed_hosts(host, allow_host or []),
        origins=allow_origin or [],
        image_urls=image_urls,
        grace=grace,
    )
    run(sources, settings, Listener(host, port, no_auth=no_auth), cached=not no_cache)
