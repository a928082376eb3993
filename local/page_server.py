"""Serves the built page as CloudFront does on AWS: files with a strict policy, `/api/...` passed on to the REST API.

`python -m local.page_server PORT FOLDER REST_URL WS_URL ENTRY_FILE`; standard library only, 127.0.0.1 only.
"""

import hmac
import http.client
import json
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HOST = "127.0.0.1"
# API Gateway takes no larger request.
MAX_BODY_BYTES = 10 * 1024 * 1024
TIMEOUT_S = 30.0
PASSED_ON = ("/api/", "/health", "/openapi.json")
# An address short enough to be read and clicked, which signs in as the local user: behind it comes the entry's word.
ENTRY = "/in/"
CONFIG = "/config.json"
_REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key")
_ANSWER_HEADERS = ("Retry-After",)


def security_headers(ws_url: str) -> dict[str, str]:
    """What a browser may do on the page: its own files, its own API and the one WebSocket."""
    socket = urlsplit(ws_url)
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' {socket.scheme}://{socket.netloc}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, and the API behind them."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, rest_url: str, ws_url: str, entry: Path, directory: str) -> None:
        self._rest = urlsplit(rest_url)
        self._ws_url = ws_url
        self._entry = entry
        self._headers = security_headers(ws_url)
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A file, what the API answers, or the way in."""
        if not self._is_for_here():
            self.send_error(421)
        elif self.path.startswith(PASSED_ON):
            self._pass_on()
        elif self.path.startswith(ENTRY):
            self._enter(self.path.removeprefix(ENTRY))
        elif self.path == CONFIG:
            self._answer(200, "application/json", json.dumps({"ws_url": self._ws_url}).encode())
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """The API only."""
        if self._is_for_here():
            self._pass_on()
        else:
            self.close_connection = True
            self.send_error(421)

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 (names that the base class calls)

    def end_headers(self) -> None:
        """Every answer carries the policy."""
        for name, value in self._headers.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: object) -> None:
        """No listings."""
        del path
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 (the base class's names)
        """Only what went wrong is worth a line; addresses may hold names, so they are left out."""
        if len(args) > 1 and str(args[1]) >= "500":
            sys.stderr.write(f"{args[1]}\n")

    def _is_for_here(self) -> bool:
        """Whether the browser meant this machine: a foreign name that was made to lead here could read what is here."""
        port = self.connection.getsockname()[1]
        return self.headers.get("Host", "") in {f"{HOST}:{port}", f"localhost:{port}"}

    def _enter(self, word: str) -> None:
        """To the page, with the token behind ``#``, where no server and no referrer sees it."""
        entry = json.loads(self._entry.read_text())
        if not hmac.compare_digest(word.encode(), entry["word"].encode()):
            return self.send_error(404)
        self.send_response(302)
        self.send_header("Location", f"/#token={entry['token']}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _answer(self, status: int, kind: str | None, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _pass_on(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not self.path.startswith(PASSED_ON):
            return self.send_error(404)
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return self.send_error(413)
        body = self.rfile.read(int(length))
        sent = {name: self.headers[name] for name in _REQUEST_HEADERS if name in self.headers}
        upstream = http.client.HTTPConnection(self._rest.hostname or HOST, self._rest.port, timeout=TIMEOUT_S)
        try:
            upstream.request(self.command, self._rest.path.rstrip("/") + self.path, body or None, sent)
            answer = upstream.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return self.send_error(502, "the API does not answer")
        finally:
            upstream.close()
        headers = {name: answer.getheader(name, "") for name in _ANSWER_HEADERS}
        return self._answer(answer.status, answer.getheader("Content-Type"), content, **headers)


class Server(ThreadingHTTPServer):
    """Ends with its process, whoever is still connected."""

    daemon_threads = True


def main(arguments: list[str]) -> None:
    """Serve until the process is stopped."""
    port, folder, rest_url, ws_url, entry = arguments
    handler = partial(Handler, rest_url=rest_url, ws_url=ws_url, entry=Path(entry), directory=str(Path(folder)))
    with Server((HOST, int(port)), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
