"""FaultyProxy: an HTTP proxy in front of a server, which fails when a rule tells it to."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = (503, "SlowDown")
TRUNCATE, DROP, LOSE = "truncate", "drop", "lose"
"""Send half of the body; close without an answer; the same, after the server did what was asked."""


class FaultyProxy:
    """``rule`` gets method and path and returns None, a status with a code, or one of the words above.

    The header ``ignored`` is not passed on; a request with the header ``unknown`` is refused by ``refusal``.
    """

    def __init__(self, url):
        self.rule = lambda method, path: None
        self.requests = []
        self.ignored = self.unknown = ""
        self.refusal = (501, "NotImplemented")
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.requests.append((self.command, self.path))
                fault = proxy.rule(self.command, self.path)
                if self.headers.get(proxy.unknown):
                    fault = proxy.refusal
                if isinstance(fault, tuple):
                    return self.refuse(*fault)
                if fault == DROP:
                    self.close_connection = True
                    return None
                host = urlsplit(url)
                upstream = http.client.HTTPConnection(host.hostname, host.port, timeout=60)
                del self.headers[proxy.ignored]
                upstream.request(self.command, self.path, body, dict(self.headers))
                got = upstream.getresponse()
                data = got.read()
                upstream.close()
                if fault == LOSE:
                    self.close_connection = True
                    return None
                self.send_response_only(got.status)
                for name, value in got.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = got.getheader("Content-Length") if self.command == "HEAD" else len(data)
                self.send_header("Content-Length", str(length or 0))
                self.end_headers()
                if fault == TRUNCATE:
                    self.close_connection = True
                    data = data[: len(data) // 2]
                self.wfile.write(data)
                return None

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

            def refuse(self, status, code, more=""):
                body = f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()
                self.send_response_only(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def fail(self, fault, times=10**9, method="", path=""):
        """Answer with the fault so many times, to requests of that method whose path holds that text."""
        lock = threading.Lock()

        def rule(got_method, got_path):
            nonlocal times
            with lock:
                if times > 0 and got_method.startswith(method) and path in got_path:
                    times -= 1
                    return fault
            return None

        self.rule = rule

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
