"""What of the server a browser may ask for: the page's own needs, and no more.

Gradio's server also fetches addresses of other hosts for whoever asks, tells of its machine and answers to further
tools. None of it is needed here, so that none of it is let through, and neither is a file outside the visits' folder,
a link, or more bytes than a photo may have.
"""

import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PAGES = frozenset({"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"})
FOLDERS = ("/assets/", "/static/", "/svelte/")
API = "/gradio_api/"
GETS = ("heartbeat/", "queue/data", "upload_progress", "startup-events", "info")
POSTS = ("upload", "queue/join", "cancel", "reset")
FILE = API + "file="


JOIN = API + "queue/join"
MOST_ASKED = 1_000_000  # bytes of a question, which names its files and does not hold them

Asked = Callable[[bytes], None]


class TooMuch(Exception):
    """A request's body is larger than it may be."""


class Gate:
    """Passes on to `app` what may pass; the rest is told 404, or 413 where it is too large.

    Args:
        app: the ASGI application.
        files: the folder of the visits.
        most: bytes of a request's body.
        asked: is told of each question to the page, a JSON text, before it waits in the queue.
    """

    def __init__(self, app: App, files: Path, most: int, asked: Asked = lambda body: None) -> None:
        self.app, self.files, self.most, self.asked = app, files, most, asked

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        with contextlib.suppress(TooMuch):  # the application has said so already, as a fault of its own
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http" or not self._may_pass(scope["method"], scope["path"]):
            await _refuse(send, 404, b"not found")
        elif int(dict(scope["headers"]).get(b"content-length", b"0")) > self.most:
            await _refuse(send, 413, b"too large")
        elif scope["path"].rstrip("/") == JOIN:
            await self._ask(scope, receive, send)
        else:
            await self.app(scope, _counted(receive, self.most), send)

    async def _ask(self, scope: Message, receive: Receive, send: Send) -> None:
        body, more, counted = b"", True, _counted(receive, MOST_ASKED)
        while more:
            try:
                message = await counted()
            except TooMuch:
                await _refuse(send, 413, b"too large")
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.asked(body)
        waiting = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, again, send)

    def _may_pass(self, method: str, path: str) -> bool:
        if path.startswith(FILE):
            return method in ("GET", "HEAD") and self._is_ours(path.removeprefix(FILE))
        if method in ("GET", "HEAD"):
            own = path in PAGES or path.startswith(FOLDERS)
            return own or path.startswith(tuple(API + name for name in GETS))
        return method == "POST" and path.removeprefix(API).rstrip("/") in POSTS

    def _is_ours(self, name: str) -> bool:
        """Whether that is a plain file below the visits' folder, by its one true name."""
        path = Path(name)
        try:
            return path.is_relative_to(self.files) and path.resolve(strict=True) == path and path.is_file()
        except (OSError, ValueError):  # a null byte is a ValueError
            return False


def _counted(receive: Receive, most: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise TooMuch
        return message

    return counted


async def _refuse(send: Send, status: int, why: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": why})
