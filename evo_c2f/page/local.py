"""What servers of pages share: they answer this machine alone."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from evo_c2f.errors import InputError

HOST = "127.0.0.1"


class LocalServer(ThreadingHTTPServer):
    """Listens on this machine alone."""

    daemon_threads = True

    def __init__(self, handler: type["LocalHandler"], port: int):
        """port: 0 takes a free one. InputError if the port is taken."""
        try:
            super().__init__((HOST, port), handler)
        except OSError as error:
            raise InputError(f"port {port} can't be had ({error.strerror}); choose another --port") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback, except where the page has another picture by now, or was closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"


class LocalHandler(BaseHTTPRequestHandler):
    """Knows who may ask, and writes the fields that all answers have."""

    server: LocalServer
    server_version, sys_version = "evo_c2f", ""

    def may_ask(self) -> bool:
        """Whether the request is for this machine, from a page of this server or from no page; else it is refused.

        A page from elsewhere that resolves its own name to this machine does not know this one.
        """
        ours = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in ours and (origin is None or origin.removeprefix("http://") in ours):
            return True
        self.send_error(403)
        return False

    def head(self, code: int, kind: str, length: int | None, **others: str) -> None:
        """The answer's code and fields. length: of the body; None: until the connection ends."""
        self.send_response(code)
        fields = {"Content-Type": kind, "Cache-Control": "no-store"}
        fields |= {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", **others}
        if length is not None:
            fields["Content-Length"] = str(length)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Does nothing, since the command uses the terminal."""
