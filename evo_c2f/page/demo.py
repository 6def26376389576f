"""A page to try models on pictures: the page itself, and the server that runs them."""

import logging
import re
import threading
from collections.abc import Callable
from mimetypes import guess_type
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from evo_c2f.page.html import as_json, filled, joined, policy, read
from evo_c2f.page.local import LocalHandler, LocalServer

LARGEST = 256 << 20  # bytes of a picture's file
SCRIPTS = ("format", "theme", "demo")

log = logging.getLogger(__name__)


class Models(Protocol):
    """Models to try, and pictures to try them on. IndexError for a number that there isn't."""

    def about(self) -> dict[str, Any]:
        """`models` and `samples`, as the page shows them."""

    def sample(self, number: int) -> tuple[str, bytes]:
        """A sample's name, and its file."""

    def run(self, model: int, picture: bytes, name: str, on_tile: Callable[[int, int], None]) -> dict[str, Any]:
        """Run a model on a picture's file, whose name is `name`: the output's number, and what it took.

        on_tile: gets the number of tiles done, and of all. InputError if the picture can't be read.
        """

    def result(self, number: int) -> bytes:
        """An output as a PNG file. Old ones are dropped."""


class DemoServer(LocalServer):
    """GET /, /samples/N and /results/N; POST /run/MODEL?name=NAME, whose body is a picture's file."""

    def __init__(self, models: Models, port: int):
        """port: 0 takes a free one. InputError if the port is taken."""
        self.models = models
        self.page = render({**models.about(), "largest": LARGEST}).encode()
        self.alone = threading.Lock()  # models run one after another: else each would slow the other's time
        super().__init__(Handler, port)


class Handler(LocalHandler):
    server: DemoServer

    def do_GET(self) -> None:  # noqa: N802, the name that http.server calls
        if not self.may_ask():
            return
        if self.path == "/":
            return self._send("text/html; charset=utf-8", self.server.page)
        what, number = self._asked()
        try:
            if what == "samples":
                name, file = self.server.models.sample(number)
                return self._send(guess_type(name)[0] or "application/octet-stream", file)
            if what == "results":
                return self._send("image/png", self.server.models.result(number))
        except IndexError:
            pass
        self.send_error(404)

    def do_POST(self) -> None:  # noqa: N802, the name that http.server calls
        if not self.may_ask():
            return
        what, model = self._asked()
        length = self.headers.get("Content-Length", "")
        if what != "run" or not length.isdecimal() or int(length) > LARGEST:
            return self.send_error(404 if what != "run" else 413)
        picture, query = self.rfile.read(int(length)), parse_qs(urlsplit(self.path).query)
        self.head(200, "application/x-ndjson", None)
        with self.server.alone:
            self._tell(self._ran(model, picture, query.get("name", ["picture"])[0]))

    def _ran(self, model: int, picture: bytes, name: str) -> dict[str, Any]:
        try:
            return self.server.models.run(model, picture, name, lambda done, of: self._tell({"done": done, "of": of}))
        except InputError as error:
            return {"error": str(error)}
        except IndexError:
            return {"error": f"there is no model {model}"}
        except ConnectionError:  # of a line to a page that no longer listens
            raise
        except Exception as error:  # of a network or a file that nobody thought of: the page must tell it
            said = str(error).partition("\n")[0]
            log.error("%r: %s: %s", name, type(error).__name__, said, exc_info=True)
            return {"error": f"{name} can't be run: {type(error).__name__}: {said}"}

    def _tell(self, line: dict[str, Any]) -> None:
        self.wfile.write((to_json(line, compact=True) + "\n").encode())

    def _asked(self) -> tuple[str, int]:
        """The two parts of the path; ("", 0) for another path."""
        found = re.fullmatch(r"/(samples|results|run)/(\d{1,9})", urlsplit(self.path).path)
        return (found[1], int(found[2])) if found else ("", 0)

    def _send(self, kind: str, body: bytes) -> None:
        self.head(200, kind, len(body))
        self.wfile.write(body)


def render(about: dict[str, Any]) -> str:
    """The page as HTML, with its style and scripts inside."""
    scripts = joined(SCRIPTS)
    parts = {
        "policy": policy([scripts], connect="'self'", images=" 'self'"),
        "style": read("page.css") + read("demo.css"),
        "data": as_json(about),
        "scripts": scripts,
    }
    return filled("demo.html", parts)
