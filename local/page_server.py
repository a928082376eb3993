"""Serves the built page as CloudFront does on AWS: files with a strict policy, `/api/...` passed on to the REST API.

`python -m local.page_server PORT FOLDER REST_URL WS_URL`; standard library only, 127.0.0.1 only.
"""

import http.client
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
_REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key")
_ANSWER_HEADERS = ("Content-Type", "Retry-After")


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

    def __init__(self, *args: object, rest_url: str, ws_url: str, directory: str) -> None:
        self._rest = urlsplit(rest_url)
        self._headers = security_headers(ws_url)
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A file, or what the API answers."""
        if self.path.startswith(PASSED_ON):
            self._pass_on()
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """The API only."""
        self._pass_on()

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
        self.send_response(answer.status)
        for name in _ANSWER_HEADERS:
            if value := answer.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None


class Server(ThreadingHTTPServer):
    """Ends with its process, whoever is still connected."""

    daemon_threads = True


def main(arguments: list[str]) -> None:
    """Serve until the process is stopped."""
    port, folder, rest_url, ws_url = arguments
    handler = partial(Handler, rest_url=rest_url, ws_url=ws_url, directory=str(Path(folder)))
    with Server((HOST, int(port)), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
