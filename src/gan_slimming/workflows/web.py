"""web: a folder with a page that runs a generator in the browser."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import WeightsFile, check_numbers
from gan_slimming.data.download import Progress
from gan_slimming.errors import UserError
from gan_slimming.export.export_model import ExportWarning
from gan_slimming.export.placement import is_exported
from gan_slimming.reports.web.page_folder import (
    CONFIG,
    RUNTIME,
    check_folder,
    template_files,
    write_folder,
)
from gan_slimming.reports.web.page_models import (
    PageModel,
    as_json,
    check_pair,
    exported_model,
    page_model,
)
from gan_slimming.reports.web.runtime_files import LICENSE, VERSION, runtime_files
from gan_slimming.reports.web.server import page_server
from gan_slimming.runtime.sessions import require
from gan_slimming.serialization.resolve import model_file, resolve_model

PORT = 8000


def web(
    model: str | Path | nn.Module,
    output: str | Path,
    *,
    teacher: str | Path | nn.Module | None = None,
    title: str | None = None,
    size: int = 512,
    runtime: str | Path | None = None,
    serve: bool = False,
    port: int = PORT,
    overwrite: bool = False,
    progress: Progress | None = None,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a page that runs a generator in the browser, offline once it is loaded.

    Args:
        model: as for resolve_model, an exported .onnx file, or a generator.
        output: folder to create for the page.
        teacher: the same kinds, to compare with; the browser loads it on demand.
        title: the page's heading; None takes the model's name.
        size: longest side in pixels to which the page scales photos at first.
        runtime: folder of onnxruntime-web's files; None downloads them from npm, once.
        serve: serve the page on this machine until Ctrl-C.
        port: of the server.
        overwrite: whether to replace an earlier page.
        progress: called while the runtime is downloaded.
        weights, factory, arguments: as for resolve_model, for `model`.
    Returns:
        output, title, size_bytes (of the folder), student and teacher (name, form, bytes by
        backend, parity), runtime (version, bytes by backend), url, seconds.
    Raises:
        UserError: a model cannot run in a browser, the runtime cannot be had, or the folder holds
            other things.
    """
    started = time.monotonic()
    check_numbers(size=size)
    folder = Path(output)
    check_folder(folder, overwrite=overwrite, inputs=_inputs(model, teacher, runtime))
    require("onnx", "onnxruntime")
    with page_server(folder, port) if serve else contextlib.nullcontext() as server:
        url = None if server is None else f"http://localhost:{server.server_address[1]}/"
        student = _model(model, weights, factory, arguments)
        models = {"student": student}
        if teacher is not None:
            models["teacher"] = _model(teacher)
            check_pair(student, models["teacher"])
        backends = sorted(student.contents)
        runtime_content = runtime_files(backends, Path(runtime) if runtime else None, progress)
        files, config = _page(models, runtime_content, title or _title(model), size)
        write_folder(folder, files)
        result = _report(folder, files, models, config, url, time.monotonic() - started)
        if server is not None:
            print(f"{folder} is at {url} until Ctrl-C", file=sys.stderr, flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever(poll_interval=0.1)
    return result


def _inputs(*given: Any) -> list[Path]:
    """Return the files and folders that arguments name."""
    found = []
    for value in given:
        if isinstance(value, str | Path):
            with contextlib.suppress(UserError):  # said later, where it is opened
                found.append(Path(value) if Path(value).exists() else model_file(value))
    return [path for path in found if path is not None]


def _model(
    model: str | Path | nn.Module,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> PageModel:
    if is_exported(model):
        return exported_model(Path(str(model)))
    if not isinstance(model, nn.Module):
        model = resolve_model(model, weights, factory=factory, arguments=arguments)
    made = page_model(model)
    if made.restricted:
        text = f"the page takes fewer sizes than {made.name}: {made.restricted}"
        warnings.warn(text, ExportWarning, stacklevel=3)
    return made


def _title(model: str | Path | nn.Module) -> str:
    """Return the name of a run folder or a file; of a generator that is none, its own."""
    if isinstance(model, nn.Module):
        return type(model).__name__
    path = Path(model)
    if path.is_file() and path.suffix == ".safetensors" and path.stem == "generator":
        path = path.resolve().parent
    return path.resolve().stem if path.exists() else str(model).split(":")[0]


def _page(
    models: Mapping[str, PageModel], runtime: Mapping[str, bytes], title: str, size: int
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return path -> content of all files, and the page's configuration."""
    files = template_files(title)
    for role, model in models.items():
        files |= model.files(role)
    files |= {f"{RUNTIME}/{name}": content for name, content in runtime.items()}
    files[f"{RUNTIME}/LICENSE.txt"] = LICENSE.encode()
    config = {
        "title": title,
        "size": size,
        "models": {role: model.record(role) for role, model in models.items()},
        "runtime": {"version": VERSION, "backends": _by_backend(runtime)},
    }
    digest = hashlib.sha256(as_json(config))
    for name in sorted(files):
        digest.update(hashlib.sha256(files[name]).digest())
    config["build"] = digest.hexdigest()[:16]
    files["sw.js"] = files["sw.js"].replace(b"BUILD", config["build"].encode())
    files[CONFIG] = as_json(config)
    return files, config


def _by_backend(runtime: Mapping[str, bytes]) -> dict[str, Any]:
    """Return backend -> its files and their bytes."""
    found: dict[str, Any] = {}
    for name, content in sorted(runtime.items()):
        own = "webgpu" if "webgpu" in name or "asyncify" in name else "wasm"
        entry = found.setdefault(own, {"files": {}, "bytes": 0})
        entry["files"][f"{RUNTIME}/{name}"] = len(content)
        entry["bytes"] += len(content)
    return found


def _report(
    folder: Path,
    files: Mapping[str, bytes],
    models: Mapping[str, PageModel],
    config: Mapping[str, Any],
    url: str | None,
    seconds: float,
) -> dict[str, Any]:
    def told(role: str) -> dict[str, Any] | None:
        if role not in models:
            return None
        model = models[role]
        sizes = {backend: len(content) for backend, content in model.contents.items()}
        return {"name": model.name, "form": model.form, "bytes": sizes, "parity": model.parity}

    backends = config["runtime"]["backends"]
    return {
        "output": str(folder),
        "title": config["title"],
        "size_bytes": sum(map(len, files.values())),
        "student": told("student"),
        "teacher": told("teacher"),
        "runtime": {"version": VERSION, "bytes": {k: v["bytes"] for k, v in backends.items()}},
        "url": url,
        "seconds": round(seconds, 3),
    }
