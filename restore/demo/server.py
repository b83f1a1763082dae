"""The server of the page: where it listens, where its files lie, and that it ends without leaving any."""

import logging
import os
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from restore.demo.answers import Answers
from restore.demo.gate import App, Gate
from restore.demo.visits import Visits, opened
from restore.errors import UserError

LOCAL = ("127.0.0.1", "localhost", "::1")
FRAME = 100_000  # bytes of a request around the file that it uploads
SETTINGS = {  # of Gradio and what it builds on: nothing asks other hosts for anything
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class Place:
    """Where the page is served, and how many answers are worked on at a time."""

    host: str = "127.0.0.1"
    port: int = 7860
    jobs: int = 1

    @property
    def is_local(self) -> bool:
        return self.host in LOCAL


def serve(answers: Answers, place: Place) -> None:
    """Serves the page until Ctrl-C or SIGTERM; then deletes what visitors left.

    Raises:
        UserError: the port is taken or the host is none of this machine's, or Gradio is missing.
    """
    require_gradio()
    signal.signal(signal.SIGTERM, _interrupt)  # which uvicorn raises again once it is down; by itself that would kill
    with listening(place) as heard, opened() as visits:
        import uvicorn

        app = application(answers, visits, place)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False)
        _say(place, heard.getsockname()[1])
        server = uvicorn.Server(config)
        end = server.handle_exit

        def end_quietly(*caught: Any) -> None:  # open pages are cut off; uvicorn has a traceback for each
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            end(*caught)

        server.handle_exit = end_quietly  # type: ignore[method-assign, assignment]
        try:
            server.run(sockets=[heard])
        except KeyboardInterrupt:
            print("stopped; what visitors left is deleted", flush=True)


def application(answers: Answers, visits: Visits, place: Place) -> App:
    """The page as an ASGI application behind its gate."""
    os.environ.update(SETTINGS)
    os.environ["GRADIO_TEMP_DIR"] = str(visits.files)
    parts = visits.root / "parts"  # of uploads that are still coming in
    parts.mkdir(mode=0o700)
    tempfile.tempdir = str(parts)
    import gradio as gr
    from fastapi import FastAPI

    from restore.demo import page as pages

    where = "this computer" if place.is_local else "the computer that serves this page"
    page = pages.Page(answers, visits, where)
    blocks = page.build(place.jobs)
    app: Any = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        blocks,
        path="/",
        server_name=place.host,
        server_port=place.port,
        allowed_paths=[],
        show_error=False,
        max_file_size=answers.limits.bytes,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=pages.CSS,
    )
    blocks.has_launched = True  # or Gradio takes any path that a browser names; a mounted page is never launched
    return Gate(app, visits.files, answers.limits.bytes + FRAME, visits.claim)


def listening(place: Place) -> socket.socket:
    """A socket that listens there. Raises `UserError`."""
    try:
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        return socket.create_server((place.host, place.port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"--host {place.host} --port {place.port}: cannot listen there: {why}") from error


def require_gradio() -> None:
    """Raises `UserError` where the extra is not installed."""
    import importlib.util

    missing = [name for name in ("gradio", "uvicorn", "fastapi") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the demo needs {', '.join(missing)}: `pip install 'restore-faces[demo]'`")


def _say(place: Place, port: int) -> None:
    if not place.is_local:
        print(
            f"warning: --host {place.host}: whoever reaches this machine can use the page, and nothing is encrypted",
            file=sys.stderr,
        )
    shown = "127.0.0.1" if place.host in ("0.0.0.0", "::") else place.host
    print(f"the page is at http://{f'[{shown}]' if ':' in shown else shown}:{port}  (Ctrl-C ends it)", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
