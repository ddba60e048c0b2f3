"""`rollbook tracker` with a tap: notes each POST that it has answered, and when.

Arguments: LOG, then the tracker's.

The time is that at which the whole answer has been handed to the socket: after the commit, and not before the
client can know. The tracker's own times (`created_at`, `receivedAt`) are those at which it takes a request up, so
they would leave the database out. A proxy would add a hop to what is measured.

A line: `{"at": ns since the epoch, "status": 200, "path": ..., "body": the JSON that came}`. What the tracker
recognises as a repetition is noted like everything else.
"""

import json
import sys
import time
from pathlib import Path
from typing import IO
from unittest.mock import patch

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollbook import cli
from rollbook.tracker import server
from rollbook.tracker.app import build_app
from rollbook.tracker.store import Store


class Tap:
    """Passes everything on, and notes the POSTs."""

    def __init__(self, app: ASGIApp, log: IO[bytes]) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the server's own events."""
        if scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        body, status = bytearray(), 0

        async def receiving() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._note(scope["path"], status, bytes(body))

        await self._app(scope, receiving, sending)

    def _note(self, path: str, status: int, body: bytes) -> None:
        head = json.dumps({"at": time.time_ns(), "status": status, "path": path})
        self._log.write(head[:-1].encode() + b', "body": ' + body.replace(b"\n", b" ") + b"}\n")


def main() -> None:
    """Serve."""
    _, log, *arguments = sys.argv
    sys.argv = ["rollbook", *arguments]
    with Path(log).open("ab", buffering=0) as lines:

        def tapped(store: Store, token: str, *, public_page: bool) -> Starlette:
            app = build_app(store, token, public_page=public_page)
            app.add_middleware(Tap, log=lines)
            return app

        with patch.object(server, "build_app", tapped):
            cli.main()


if __name__ == "__main__":
    main()
