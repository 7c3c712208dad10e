"""A stub of the Hugging Face hub's HTTP API: a commit of small files per repository, to upload and download."""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "c" * 40


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.private[name] = (
                asked.get("visibility", "private" if asked.get("private") else "public") == "private"
            )
            self._json({"url": f"{self.server.address}/{name}"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._json(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
            )
        elif "/commit/" in self.path:
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            files = self.server.files.setdefault(name, {})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"{self.server.address}/{name}/commit/{COMMIT}"
            self._json({"success": True, "commitOid": COMMIT, "commitUrl": address})
        elif "validate-yaml" in self.path:
            self._json({"errors": [], "warnings": []})
        else:
            self._json({"error": "Not Found"}, 404)

    def do_GET(self):
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append((path, self.headers.get("Authorization")))
        if "/tree/" in path:
            files = self.server.files.get(path.removeprefix("/api/models/").partition("/tree/")[0])
            if files is not None:
                return self._json([{"type": "file", "path": one, "size": len(files[one]), "oid": "0"} for one in files])
        elif path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/").partition("/revision/")[0]
            if name in self.server.files:
                siblings = [{"rfilename": one} for one in self.server.files[name]]
                return self._json({"_id": "1", "id": name, "sha": COMMIT, "siblings": siblings})
        elif "/resolve/" in path:
            name, _, rest = path.strip("/").partition("/resolve/")
            content = self.server.files.get(name, {}).get(rest.partition("/")[2])
            if content is not None:
                headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
                return self._send(content, 200, headers)
        return self._json({"error": "Not Found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def _json(self, content, status=200, headers=None):
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, body, status, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def hub_stub():
    """Run the stub; its `files`, `private` and `requests` show what it has received."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.files, server.private, server.requests = {}, {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
