"""A door to a server of S3's. Requests and answers pass as they are, but for what is to befall some of them."""
import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# A blob's own name at the end of a path; backups of the index have session 0.
BLOB = re.compile(r"/blobs/((?!0000000000/)[0-9a-f]{10}/[0-9a-f]{13}/[0-9a-f]{16}\.[0-9a-f]{10}-[0-9a-f]{16})$")
# What concerns one connection alone.
HOPS = ("connection", "keep-alive", "transfer-encoding")
# Whoever waits at a held door longer than this was forgotten by the test.
HELD = 60


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A connection that ends early is what a door is for."""


class Door:
    """Listens on the loopback until it is closed. What can befall a request about a blob (`befall`):

    `lost`: it is done, and the connection ends without an answer. `unsent`: the connection ends, and nothing is done.
    `late`: as `unsent`, but it is done by `land`. `held`: it waits until `release`. `short`: the answer's body is its
    first half, and says that it is whole. `broken`: the connection ends in the middle of the answer's body.
    """

    def __init__(self, server):
        self.server = urlsplit(server).netloc
        self.seen, self.met, self.late = [], [], []
        self.shut = False
        self._wanted, self._lock, self._open = [], threading.Lock(), threading.Event()
        self._http = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def befall(self, what, method, times=1):
        """So many of the next requests of this method about blobs."""
        with self._lock:
            self.met.clear()
            self._open.clear()
            self._wanted = [(what, method)] * times

    def heal(self):
        """Nothing more befalls anything, and what is held goes on."""
        with self._lock:
            self._wanted = []
        self._open.set()

    def land(self):
        """Does what was late; how many requests that were."""
        late, self.late = self.late, []
        for asked in late:
            self._pass(*asked)
        return len(late)

    def asked(self, method):
        """The blobs that requests of a method were about, in their order, those without an answer too."""
        return [blob for asked, blob in self.seen if asked == method]

    def close(self):
        self.heal()
        self._http.shutdown()
        self._http.server_close()

    def _strikes(self, method, path):
        blob = BLOB.search(path.split("?")[0])
        if not blob:
            return None
        with self._lock:
            self.seen.append((method, blob[1]))
            for at, (what, of) in enumerate(self._wanted):
                if of == method:
                    del self._wanted[at]
                    self.met.append((what, blob[1]))
                    return what
        return None

    def _pass(self, method, path, headers, body):
        """Asks the server; its status, headers and body."""
        there = http.client.HTTPConnection(self.server, timeout=60)
        try:
            there.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in HOPS:
                    there.putheader(name, value)
            there.endheaders(body)
            answer = there.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            there.close()

    def _handler(door):  # noqa: N805 - the handler has a `self` of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = (self.command, self.path, self.headers.items(), body)
                what = "unsent" if door.shut else door._strikes(self.command, self.path)
                if what == "late":
                    door.late.append(asked)
                if what in ("late", "unsent"):
                    return self.end()
                if what == "held":
                    door._open.wait(HELD)
                try:
                    status, headers, body = door._pass(*asked)
                except OSError:
                    return self.end()
                return self.end() if what == "lost" else self.answer(what, status, headers, body)

            def answer(self, what, status, headers, body):
                cut = body[: len(body) // 2] if what in ("short", "broken") else body
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in (*HOPS, "content-length"):
                        self.send_header(name, value)
                length = dict((name.lower(), value) for name, value in headers).get("content-length", "0")
                if self.command != "HEAD":
                    length = len(cut if what == "short" else body)
                if status != 204:
                    self.send_header("content-length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(cut)
                if what == "broken":
                    self.end()

            def end(self):
                self.wfile.flush()
                self.close_connection = True

            def log_message(self, *_):
                """Says nothing."""

        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.do)
        return Handler
