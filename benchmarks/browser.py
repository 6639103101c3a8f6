"""Run a student in headless Chromium as the page of `gan-slimming web` does.

    python benchmarks/browser.py runs/hayao --photos photos/ --runtime-files dist/ --output web.json

For each form of ONNX (integer, qdq, float codes, float) it reports LPIPS between torch's image and
the one drawn, mean and worst, and two times of an image on one thread of WebAssembly: the least by
the clock, and the mean by the CPU, which other work on the machine does not change. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # the browser of the tests

from tests.browser import chromium

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.image_files import list_images, read_image
from gan_slimming.data.padding import run_padded
from gan_slimming.export.convert import convert
from gan_slimming.models.registry import infer_spec
from gan_slimming.perceptual.lpips import load_lpips
from gan_slimming.reports.web.float_codes import float_codes
from gan_slimming.reports.web.page_folder import template_files
from gan_slimming.reports.web.runtime_files import FILES, VERSION
from gan_slimming.reports.web.server import page_server
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.resolve import resolve_model

CONTRACT = ("channels", "low", "high", "colour_order", "multiple_of", "min_size", "size", "scale")
FORMS = ("integer", "qdq", "float codes", "none")
LOAD = """
const [model, contract, done] = arguments;
(async () => {
  window.pixels = await import("./pixels.js");
  window.contract = contract;
  window.ort = await import("./ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("./", location.href).href;
  window.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
})().then(() => done(""), (error) => done(String(error)));
"""
DRAW = """
const [rgba, width, height, done] = arguments;
(async () => {
  const { data, dims } = pixels.toTensor(rgba, width, height, contract);
  const { output } = await session.run({ input: new ort.Tensor("float32", data, dims) });
  return { rgba: [...pixels.toRgba(output.data, output.dims, width, height, contract)] };
})().then(done, (error) => done({ error: String(error) }));
"""


REPEAT = """
const [rounds, side, done] = arguments;
(async () => {
  const input = new ort.Tensor("float32", new Float32Array(3 * side * side), [1, 3, side, side]);
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const started = performance.now();
    await session.run({ input });
    times.push(performance.now() - started);
  }
  return Math.min(...times);
})().then(done, (error) => done(String(error)));
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report as JSON, and print a line for each form."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--runtime-files", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8, help="number of photos")
    parser.add_argument("--rounds", type=int, default=6, help="number of timed images")
    parser.add_argument("--size", type=int, default=256, help="side of timed images in pixels")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(argv)
    model = resolve_model(given.model)
    paths = list_images([given.photos])[: given.count]
    rows = []
    for form in given.forms.split(","):
        rows.append(measure(model, form, paths, given.runtime_files, given.rounds, given.size))
        print(rows[-1], file=sys.stderr, flush=True)
    report = {"photos": len(paths), "onnxruntime_web": VERSION, "measurements": rows}
    given.output.write_text(json.dumps(report | {"environment": environment()}, indent=1))


def measure(
    model: nn.Module, form: str, paths: Sequence[Path], runtime: Path, rounds: int, size: int
) -> dict[str, Any]:
    """Return the figures of one form."""
    content = in_form(model, form)
    generator = GeneratorAdapter(model, infer_spec(model).contract)
    lpips, pairs = load_lpips(), []
    with tempfile.TemporaryDirectory() as profile, page(content, runtime, profile) as browser:
        contract = {name: getattr(generator.contract, name) for name in CONTRACT}
        if fault := browser.execute_async_script(LOAD, "model.onnx", contract):
            raise RuntimeError(fault)
        images = [read_image(path).rgb.float() for path in paths]
        pairs = [(image, draw(browser, image)) for image in images]  # warm and compiled, then
        before = renderer_seconds(profile)
        least = browser.execute_async_script(REPEAT, rounds, size)
        seconds = (renderer_seconds(profile) - before) / rounds
    with torch.inference_mode():
        found = [float(lpips(made[None], run_padded(generator, x[None]))) for x, made in pairs]
    return {
        "form": form, "size_bytes": len(content), "lpips": sum(found) / len(found),
        "lpips_worst": max(found), "rounds": rounds, "size": size,
        "least_ms": least, "cpu_ms": 1000 * seconds,
    }  # fmt: skip


def in_form(model: nn.Module, form: str) -> bytes:
    """Return the ONNX model of a form."""
    if form == "float codes":
        return float_codes(convert(model, quantization="qdq", runtimes=()).content)
    return convert(model, quantization=form, runtimes=()).content


def draw(browser: Any, image: torch.Tensor) -> torch.Tensor:
    """Return the image (3, height, width) in [-1, 1] that the browser makes."""
    height, width = image.shape[-2:]
    codes = ((image + 1) * 127.5).round().byte().permute(1, 2, 0)
    opaque = torch.full((height, width, 1), 255, dtype=torch.uint8)
    rgba = torch.cat([codes, opaque], -1).flatten().tolist()
    answer = browser.execute_async_script(DRAW, rgba, width, height)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    made = torch.tensor(answer["rgba"], dtype=torch.float32).view(height, width, 4)[..., :3]
    return made.permute(2, 0, 1) / 127.5 - 1


@contextmanager
def page(content: bytes, runtime: Path, profile: str) -> Iterator[Any]:
    """Open the page's own code beside a model in a new browser."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pixels.js").write_bytes(template_files()["pixels.js"])
        (folder / "index.html").write_text("<!doctype html><link rel=icon href=data:,>")
        (folder / "model.onnx").write_bytes(content)
        for file in FILES["wasm"]:
            shutil.copy(runtime / file, folder)
        with page_server(folder) as server, chromium(Path(profile)) as browser:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser.set_script_timeout(100)
            browser.get(f"http://localhost:{server.server_address[1]}/")
            yield browser
            server.shutdown()


def renderer_seconds(profile: str) -> float:
    """Return the CPU time of the browser's renderers so far."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
            if "--type=renderer" in words and profile in words:
                stat = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(stat[11]) + int(stat[12])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
