"""A local HTTP server that answers ClearML's SDK well enough to keep it going, and records the requests.

It is not a ClearML server: it stores tasks as the dictionaries that were sent, unchecked. The recorded requests can be
validated against the schemas that come with the SDK (`schema_problems`).
"""

import base64
import copy
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

API = "2.23"
QUEUES = {"default": "queue-1"}


class ClearMLStub:
    """Recorded requests, files, tasks and models."""

    def __init__(self):
        self.calls, self.files, self.tasks, self.models = [], {}, {}, {}
        self.lock = threading.Lock()
        self.silent = self.gone = self.slow_files = False
        self.held = 0  # files that are being sent

    def bodies(self, action):
        return [body for name, body in self.calls if name == action]

    @property
    def events(self):
        return [event for body in self.bodies("events.add_batch") for event in body]

    def handle(self, action, body):
        with self.lock:
            self.calls.append((action, copy.deepcopy(body)))
            return getattr(self, action.replace(".", "_"), self._nothing)(body if isinstance(body, dict) else {})

    def _nothing(self, body):
        return {"updated": 1, "fields": {}}

    def auth_login(self, body):
        content = {"exp": time.time() + 86_400, "api_version": API, "server_version": "1"}
        parts = [
            base64.urlsafe_b64encode(json.dumps(one).encode()) for one in ({"alg": "HS256", "typ": "JWT"}, content)
        ]
        return {"token": ".".join(part.decode().rstrip("=") for part in [*parts, b"AAAA"])}

    def projects_get_all(self, body):
        return {"projects": []}

    def projects_create(self, body):
        for number in range(body["name"].count("/") + 1):  # the projects above it are created too
            check_name(body["name"].rsplit("/", number)[0])
        return {"id": "project-1"}

    def projects_get_by_id(self, body):
        return {"project": {"id": "project-1", "name": "eno"}}

    def queues_get_all(self, body):
        names = [body["name"].strip("^$").replace("\\", "")] if body.get("name") else list(QUEUES)
        return {"queues": [{"id": QUEUES[name], "name": name} for name in names if name in QUEUES]}

    def tasks_create(self, body):
        return self._keep(body)

    def _keep(self, body):
        check_name(body["name"])
        name = uuid.uuid4().hex
        now = "2026-01-01T00:00:00.000000+00:00"
        kept = {"id": name, "status": "created", "created": now, "last_update": now, "project": "project-1",
                "company": "c", "user": "u", "output": {"destination": ""}, "execution": {}}  # fmt: skip
        self.tasks[name] = kept | body
        return {"id": name}

    def tasks_get_by_id(self, body):
        return {"task": self.tasks[body["task"]]}

    def tasks_get_all(self, body):
        found = [task for name, task in self.tasks.items() if name in (body.get("id") or self.tasks)]
        return {"tasks": [one for one in found if tagged(one, body, "tags") and tagged(one, body, "system_tags")]}

    def tasks_delete(self, body):
        del self.tasks[body["task"]]
        return {"deleted": True}

    def abort(self, task, by="somebody"):
        """Do what the web page does to a task of a process that no agent runs."""
        self.tasks[task].update(status="stopped", status_message=f"Stopped by {by}", status_reason="")

    def tasks_edit(self, body):
        changes = {name: value for name, value in body.items() if name not in ("task", "force")}
        self.tasks[body["task"]].update(changes)
        return {"updated": 1, "fields": changes}

    def tasks_edit_hyper_params(self, body):
        kept = self.tasks[body["task"]].setdefault("hyperparams", {})
        for one in body["hyperparams"]:
            kept.setdefault(one["section"], {})[one["name"]] = one
        return {"updated": 1}

    def tasks_edit_configuration(self, body):
        kept = self.tasks[body["task"]].setdefault("configuration", {})
        kept.update({one["name"]: one for one in body["configuration"]})
        return {"updated": 1}

    def tasks_set_requirements(self, body):
        self.tasks[body["task"]]["script"]["requirements"] = body["requirements"]
        return {"updated": 1}

    def tasks_add_or_update_artifacts(self, body):
        kept = self.tasks[body["task"]]["execution"].setdefault("artifacts", [])
        new = {one["key"] for one in body["artifacts"]}
        kept[:] = [one for one in kept if one["key"] not in new] + body["artifacts"]
        return {"updated": 1}

    def _status(name):
        def change(self, body):
            message = {"status_message": body.get("status_message"), "status_reason": body.get("status_reason")}
            self.tasks[body["task"]].update(message, status=name)
            return {"updated": 1, "fields": {"status": name}}

        return change

    tasks_started, tasks_completed = _status("in_progress"), _status("completed")
    tasks_stopped, tasks_failed, tasks_enqueue = _status("stopped"), _status("failed"), _status("queued")

    def tasks_add_or_update_model(self, body):
        kept = self.tasks[body["task"]].setdefault("models", {}).setdefault(body["type"], [])
        kept[:] = [one for one in kept if one["name"] != body["name"]]
        kept.append({"name": body["name"], "model": body["model"]})
        return {"updated": 1}

    def models_create(self, body):
        check_name(body["name"])
        name = uuid.uuid4().hex
        self.models[name] = {"id": name, "ready": False, "system_tags": []} | body
        return {"id": name, "created": True}

    def models_edit(self, body):
        check_name(body.get("name", "unchanged"))
        self.models[body["model"]].update(body)
        return {"updated": 1, "fields": {}}

    models_update = models_edit

    def models_set_ready(self, body):
        self.models[body["model"]]["ready"] = True
        return {"updated": 1}

    def models_get_by_id(self, body):
        return {"model": self.models[body["model"]]}

    def models_get_all(self, body):
        return {"models": [one for one in self.models.values() if tagged(one, body, "tags")]}

    def events_add_batch(self, body):
        return {"added": 1, "errors": 0}


def check_name(name):
    """Refuse what the server's data model refuses."""
    if len(name.strip()) < 3:
        raise ValueError("Validation error (error for field 'name'. String value is too short)")


def tagged(one, body, field):
    return not body.get(field) or bool(set(body[field]) & set(one.get(field) or []))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        stub = self.server.stub
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if stub.silent:
            threading.Event().wait()
        if stub.gone:
            self.close_connection = True  # without an answer
            return None
        while stub.slow_files and self.path.startswith("/files"):
            stub.held += 1
            time.sleep(0.05)
        words = self.path.split("?")[0].strip("/").split("/")
        if self.path.startswith("/files"):
            return self.file(content)
        if words[0].startswith("v"):
            words = words[1:]
        action = words[0]
        if action == "events.add_batch":
            body = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            body = json.loads(content or b"{}")
        code, subcode, told = 200, 0, "OK"
        try:
            data = stub.handle(action, body)
        except KeyError as error:
            data, code, subcode, told = {}, 400, 100, f"Invalid id: {error.args[0]}"
        except ValueError as error:
            data, code, subcode, told = {}, 400, 12, str(error)
        meta = {"id": "1", "trx": "1", "endpoint": {"name": action, "requested_version": API, "actual_version": API},
                "result_code": code, "result_subcode": subcode, "result_msg": told, "error_stack": None}  # fmt: skip
        return self.reply(json.dumps({"meta": meta, "data": data}).encode(), code)

    def file(self, content):
        files = self.server.stub.files
        if self.command == "POST":
            files.update(_parts(self.headers["Content-Type"], content))
            return self.reply(b"{}")
        name = unquote(self.path.removeprefix("/files/"))
        return self.reply(files.get(name, b""), 200 if name in files else 404)

    def reply(self, content, code=200):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = answer


def _parts(kind, content):
    """Read a multipart form: path → content."""
    boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    found = {}
    for part in content.split(boundary)[1:-1]:
        head, _, body = part[2:-2].partition(b"\r\n\r\n")  # between two line ends
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        found[unquote(name.lstrip("/"))] = body
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Ignore clients that were killed."""


@contextmanager
def clearml_stub():
    """Run a stub; yield it with the environment variables that direct the SDK to it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stub = ClearMLStub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield server.stub, {
            "CLEARML_API_HOST": address, "CLEARML_WEB_HOST": address, "CLEARML_FILES_HOST": f"{address}/files",
            "CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret",
            "CLEARML_API_DEFAULT_REQ_METHOD": "post",
        }  # fmt: skip
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_CHECK = """
import importlib, json, sys
import jsonschema
from clearml.backend_api.session import Request
problems, checked = [], set()
for action, body in json.load(sys.stdin):
    service, _, name = action.partition(".")
    module = importlib.import_module(f"clearml.backend_api.services.v2_23.{service}")
    found = [one for one in vars(module).values()
             if isinstance(one, type) and issubclass(one, Request) and getattr(one, "_action", None) == name]
    if not found:
        problems.append(f"{action}: the SDK has no such request")
        continue
    schema = getattr(found[0], "_schema", None)
    if schema:
        checked.add(action)
        for error in jsonschema.Draft7Validator(schema).iter_errors(body):
            problems.append(f"{action}: {error.message} at {list(error.absolute_path)}")
print(json.dumps([sorted(set(problems)), sorted(checked)]))
"""


def schema_problems(calls):
    """Validate recorded calls against the schemas of the SDK; return problems and the actions that were checked."""
    calls = [call for call in calls if not call[0].startswith(("auth.", "debug.")) and call[0] != "events.add_batch"]
    found = subprocess.run(
        [sys.executable, "-c", _CHECK], input=json.dumps(calls), capture_output=True, text=True, check=True,
        env={**os.environ, "CLEARML_OFFLINE_MODE": "1"},
    )  # fmt: skip
    return json.loads(found.stdout.splitlines()[-1])
