"""Serves a run's page to this machine alone; each request reads the run while others write it. GET, two paths."""

import hashlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.objectives.metric import METRICS, Metric
from evo_c2f.page.data import page_data
from evo_c2f.page.html import as_json, render
from evo_c2f.page.local import LocalHandler, LocalServer
from evo_c2f.runs.run import RunFolder

Answer = tuple[str, bytes, str]  # content type, body, its tag


class Pages:
    """The page and its data, rebuilt only when a file of the run has changed."""

    def __init__(self, run: RunFolder):
        self.run = run
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, Answer]] = {}

    def __call__(self, path: str) -> Answer:
        """DamagedFileError if a file of the run can't be read, and never could."""
        with self._lock:
            state = self._state()
            if path not in self._known or self._known[path][0] != state:
                try:
                    self._known[path] = (state, self._made(path))
                except DamagedFileError:
                    if path not in self._known:  # else what was read before stands until it can be read again
                        raise
            return self._known[path][1]

    def _state(self) -> str:
        run = self.run
        watched = [run.scores, run.log_file, run.ledger, run.samples, *sorted((run.folder / "fronts").glob("*.csv"))]
        stats = [(p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in watched if p.is_file()]
        return repr(stats)

    def _made(self, path: str) -> Answer:
        data = page_data(self.run)
        kind, text = ("text/html", render(data, live=True)) if path == "/" else ("application/json", as_json(data))
        body = text.encode()
        return f"{kind}; charset=utf-8", body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


class Server(LocalServer):
    """Answers GET / and GET /data.json; refuses everything else."""

    def __init__(self, pages: Callable[[str], Answer], port: int):
        self.pages = pages
        super().__init__(Handler, port)


class Handler(LocalHandler):
    server: Server

    def do_GET(self) -> None:  # noqa: N802, the name that http.server calls
        if not self.may_ask():
            return
        if self.path not in ("/", "/data.json"):
            return self.send_error(404)
        try:
            kind, body, tag = self.server.pages(self.path)
        except (DamagedFileError, InputError) as error:
            return self.send_error(503, explain=str(error))
        if self.headers.get("If-None-Match") == tag:
            return self.head(304, kind, 0, ETag=tag)
        self.head(200, kind, len(body), ETag=tag)
        self.wfile.write(body)


def open_server(run: RunFolder, port: int) -> Server:
    """Listen on the port; 0 takes a free one. InputError if the port is taken."""
    return Server(Pages(run), port)


@contextmanager
def serving(run: RunFolder, port: int) -> Iterator[str]:
    """The page's address. A separate process serves the page, since HDF5 can't read a file that its process writes."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(run.folder, port, METRICS, there), daemon=True)
    process.start()
    try:
        there.close()
        try:
            answer = here.recv()
        except EOFError:
            answer = InputError("the page can't be served; run without --live")
        if isinstance(answer, InputError):
            raise answer
        yield answer
    finally:
        process.terminate()
        process.join()


def _serve(folder: Path, port: int, metrics: dict[str, Metric], pipe: Connection) -> None:
    """Until the parent ends, however it does; Ctrl-C is the parent's to answer.

    metrics: the parent's, which has those of plugins too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    METRICS.update(metrics)
    try:
        server = open_server(RunFolder.open(folder), port)
    except InputError as error:
        return pipe.send(error)
    pipe.send(server.url)
    parent = multiprocessing.parent_process()
    assert parent
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parent.join()
