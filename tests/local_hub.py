"""A Hub on this machine for tests of push and pull, as its API shows it; in memory."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlparse

TOKEN = "hf_of_a_test"


@dataclass
class Hub:
    """Its repositories, and what it was asked."""

    url: str = ""
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    """Repository -> branch -> path -> content."""
    private: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 -> large file."""
    asked: list[str] = field(default_factory=list)
    damage: bytes = b""
    """What is appended to large files on their way down."""


def commit_of(files: dict[str, bytes]) -> str:
    """Return forty digits that change with the content."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def blob_of(content: bytes) -> str:
    """Return Git's name of a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str) -> bool:
    """Return whether the Hub keeps a file outside Git."""
    return path.endswith(".safetensors")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does, as far as push and pull ask."""

    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def answer(
        self, content: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Send JSON, or bytes as they are."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code: str, status: int = 404) -> None:
        """Send an error by the Hub's own name."""
        self.answer({"error": code}, status, {"X-Error-Code": code, "X-Error-Message": code})

    def body(self) -> bytes:
        """Return the request's body, in one piece or in chunks."""
        if length := self.headers["Content-Length"]:
            return self.rfile.read(int(length))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def may(self, repo: str, *, write: bool) -> bool:
        """Return whether the request's token suffices; answer if it does not."""
        known = self.headers["Authorization"] == f"Bearer {TOKEN}"
        if write and not known:
            self.refuse("", 401)
        elif repo not in self.hub.repos or (repo in self.hub.private and not known):
            self.refuse("RepoNotFound")
        else:
            return True
        return False

    def do_PUT(self) -> None:
        """Take a large file."""
        content = self.body()
        self.hub.stored[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def do_POST(self) -> None:
        """Create a repository or a branch, tell how files come up, take a commit."""
        path, sent = unquote(urlparse(self.path).path), self.body()
        self.hub.asked.append(f"POST {path}")
        if path == "/api/repos/create":
            self.create(json.loads(sent))
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(sent)["objects"]
            place = {"upload": {"href": f"{self.hub.url}/store"}}
            self.answer({"transfer": "basic", "objects": [o | {"actions": place} for o in objects]})
        else:
            user, name, verb, branch = path.removeprefix("/api/models/").split("/", 3)
            if self.may(f"{user}/{name}", write=True):
                getattr(self, verb)(f"{user}/{name}", branch, sent)

    def create(self, told: dict[str, object]) -> None:
        """Create a repository; 409 where it exists."""
        repo = f"{told['organization']}/{told['name']}" if told.get("organization") else ""
        repo = repo or str(told["name"])
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.refuse("", 401)
        if repo in self.hub.repos:
            return self.refuse("", 409)
        self.hub.repos[repo] = {"main": {}}
        if told.get("private") or told.get("visibility") == "private":
            self.hub.private.add(repo)
        self.answer({"url": f"{self.hub.url}/{repo}"})

    def branch(self, repo: str, name: str, _: bytes) -> None:
        """Make a branch."""
        self.hub.repos[repo][name] = dict(self.hub.repos[repo]["main"])
        self.answer({})

    def preupload(self, repo: str, branch: str, sent: bytes) -> None:
        """Tell which files are large."""
        if branch not in self.hub.repos[repo]:
            return self.refuse("RevisionNotFound")
        self.answer(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for file in json.loads(sent)["files"]
                ]
            }
        )

    def commit(self, repo: str, branch: str, sent: bytes) -> None:
        """Add files to a branch."""
        files = self.hub.repos[repo][branch]
        for line in map(json.loads, sent.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        oid = commit_of(files)
        self.answer({"commitOid": oid, "commitUrl": f"{self.hub.url}/{repo}/commit/{oid}"})

    def files_at(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """Return the files of a branch or a commit."""
        branches = self.hub.repos[repo]
        return next((f for name, f in branches.items() if revision in (name, commit_of(f))), None)

    def do_HEAD(self) -> None:
        """Tell of a file."""
        self.do_GET()

    def do_GET(self) -> None:
        """Tell of a repository, or send a file."""
        path = unquote(urlparse(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            user, name, *rest = path.removeprefix("/api/models/").split("/", 3)
            revision = rest[1] if rest else "main"
            if self.may(f"{user}/{name}", write=False):
                self.info(f"{user}/{name}", revision)
            return
        user, name, _, revision, file = path.strip("/").split("/", 4)
        if self.may(f"{user}/{name}", write=False):
            self.send_file(f"{user}/{name}", revision, file)

    def info(self, repo: str, revision: str) -> None:
        """Tell of a repository at a revision, each file with its size and hash."""
        files = self.files_at(repo, revision)
        if files is None:
            return self.refuse("RevisionNotFound")
        siblings = []
        for name, content in files.items():
            entry = {"rfilename": name, "size": len(content), "blobId": blob_of(content)}
            if is_large(name):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 100}
            siblings.append(entry)
        self.answer({"id": repo, "sha": commit_of(files), "siblings": siblings})

    def send_file(self, repo: str, revision: str, name: str) -> None:
        """Send a file, or its headers."""
        files = self.files_at(repo, revision)
        if files is None or name not in files:
            return self.refuse("RevisionNotFound" if files is None else "EntryNotFound")
        content = files[name] + (self.hub.damage if is_large(name) else b"")
        etag = hashlib.sha256(files[name]).hexdigest() if is_large(name) else blob_of(content)
        self.answer(content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": commit_of(files)})


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Serve a Hub without repositories while this lasts."""
    hub = Hub()
    handler = type("OfHub", (Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        hub.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield hub
        httpd.shutdown()
        thread.join()
