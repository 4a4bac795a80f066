"""A web service in one call: routes, JSON, /health, and an end that finishes what was begun."""

import json
import os
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "8080"))


class Answer(Exception):
    """Raised or returned by a route: a status, a body (dict: JSON, str: HTML) and headers."""

    def __init__(self, status, body, **headers):
        self.status, self.body, self.headers = status, body, headers


def serve(routes):
    """Answers until SIGTERM. `routes` maps "GET /path/(regex)" to a function of (request, *groups)."""
    routes = {"GET /health": lambda request: {"status": "ok"}, **routes}

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            asked = f"{self.command} {self.path.partition('?')[0]}"
            for pattern, route in routes.items():
                match = re.fullmatch(pattern, asked)
                if match:
                    try:
                        return self.send(route(self, *match.groups()))
                    except Answer as answer:
                        return self.send(answer)
            self.send(Answer(404, {"error": f"nothing at {asked}"}))

        do_GET = do_POST = do_DELETE = answer

        def json(self):
            try:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            except ValueError:
                raise Answer(400, {"error": "the body is not JSON"})
            return body if isinstance(body, dict) else {}

        def send(self, answer):
            if not isinstance(answer, Answer):
                answer = Answer(200, answer)
            is_html = isinstance(answer.body, str)
            body = answer.body if is_html else json.dumps(answer.body, indent=2) + "\n"
            body = body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/html; charset=utf-8" if is_html else "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("", PORT), Handler)
    server.daemon_threads = False  # requests that have begun are finished
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on {PORT}")
    server.serve_forever()
    server.server_close()
    print("stopped")


if __name__ == "__main__":
    serve({"GET /": lambda request: {"service": "runtime", "says": "build a service FROM this image"}})
