"""The page in real headless Chromium: a photo in, torch's image out, offline as well."""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.browser import chromium, requests_of
from torch import nn

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.image_files import read_image
from gan_slimming.data.padding import run_padded
from gan_slimming.export.export_model import export_model
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.perceptual.lpips import lpips_at_hand
from gan_slimming.reports.web.runtime_files import FILES, VERSION
from gan_slimming.reports.web.server import page_server
from gan_slimming.workflows.web import web

VARIABLE = "GAN_SLIMMING_ONNXRUNTIME_WEB"
"""The folder with the files of onnxruntime-web."""
IDLE = "document.documentElement.dataset.state === 'idle'"
READY = "document.getElementById('offline').textContent"
PATIENCE = 120.0
"""Seconds until a page that does not come counts as broken."""


@pytest.fixture(scope="module")
def runtime() -> Path:
    folder = Path(os.environ.get(VARIABLE, "node_modules/onnxruntime-web/dist"))
    if not all((folder / name).is_file() for name in FILES["wasm"]):
        pytest.skip(f"no onnxruntime-web {VERSION} at hand; {VARIABLE} names its dist folder")
    return folder


@pytest.fixture(scope="module")
def browser(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo-like image whose sides are no multiples of 4."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    small.resize((70, 53), Image.Resampling.BICUBIC).save(path)
    return path


class Page:
    """A page in the browser, served by this test."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser = browser
        self.server = page_server(folder)
        self.http = self.server.__enter__()
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://localhost:{self.http.server_address[1]}/"

    def stop(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.server.__exit__(None, None, None)

    def open(self, query: str = "") -> None:
        self.browser.get(self.url + query)
        self.wait(READY)

    def wait(self, condition: str) -> Any:
        """Wait until a condition in the page holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.script(f"return {condition}"):
                return value
            time.sleep(0.05)
        raise AssertionError(f"{condition} did not come; {self.said()}")

    def script(self, text: str, *values: Any) -> Any:
        return self.browser.execute_script(text, *values)

    def said(self) -> dict[str, str]:
        """Return the page's texts by their id."""
        return self.script(
            "return Object.fromEntries([...document.querySelectorAll('[id]')]"
            ".filter((x) => !x.hidden).map((x) => [x.id, x.textContent.trim()]))"
        )

    def draw(self, photo: Path) -> np.ndarray:
        """Give it a photo; return the student's image (height, width, 3)."""
        self.script("document.documentElement.dataset.state = 'waiting'")
        self.browser.find_element("css selector", "#file").send_keys(str(photo))
        self.wait(IDLE)
        return self.image()

    def image(self, name: str = "after") -> np.ndarray:
        url = self.script(f"return document.getElementById('{name}').toDataURL('image/png')")
        data = base64.b64decode(url.partition(",")[2])
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    def errors(self) -> list[str]:
        """Return the errors in the console since the last call."""
        return [e["message"] for e in self.browser.get_log("browser") if e["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def page(
    browser: Any, student: nn.Module, runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("web") / "page"
    torch.manual_seed(1)
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    web(student, folder, teacher=teacher, title="Tiny", runtime=runtime)
    shown = Page(browser, folder)
    yield shown
    shown.stop()


def expected(student: nn.Module, photo: Path) -> np.ndarray:
    """Return torch's image (height, width, 3), in 8 bits."""
    generator = GeneratorAdapter(student, spec_of(student).contract)
    image = run_padded(generator, read_image(photo).rgb[None])[0]
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def near(made: np.ndarray, wanted: np.ndarray) -> None:
    """Assert that two images look the same."""
    assert made.shape == wanted.shape
    assert np.abs(made.astype(float) - wanted).mean() < 1.5
    if lpips := lpips_at_hand():
        pair = [torch.tensor(x).permute(2, 0, 1)[None] / 127.5 - 1 for x in (made, wanted)]
        with torch.inference_mode():
            assert float(lpips(*pair)) <= 0.01


def test_a_photo_becomes_torchs_image(page: Page, student: nn.Module, photo: Path) -> None:
    page.open()
    requests_of(page.browser)
    made = page.draw(photo)
    near(made, expected(student, photo))
    with Image.open(photo) as image:
        np.testing.assert_array_equal(page.image("before"), np.asarray(image))
    assert page.said()["student-time"].endswith(("ms", "s"))
    assert page.errors() == []
    foreign = [u for u in requests_of(page.browser) if not u.startswith((page.url, "blob:"))]
    assert foreign == []


def test_without_webgpu_it_says_so_and_uses_webassembly(page: Page) -> None:
    page.open()
    said = page.said()
    assert f"onnxruntime-web {VERSION}, WebAssembly" in said["runtime-detail"]
    assert "WebGPU" in said["runtime-detail"]
    assert page.script("return document.querySelector('#backend [value=webgpu]').disabled")
    assert page.script("return self.crossOriginIsolated")
    assert said["model-size"].endswith("kB")
    assert said["runtime-size"].endswith("MB")


def test_the_teacher_is_loaded_on_demand_and_timed(page: Page, photo: Path) -> None:
    page.open()
    page.draw(photo)
    asked = requests_of(page.browser)
    assert not any("teacher.onnx" in url for url in asked)
    page.script("document.getElementById('teacher').click()")
    page.wait("!document.getElementById('ratio-card').hidden")
    assert page.said()["ratio"].endswith("×")
    page.script("const s = document.getElementById('compare'); s.value = 'teacher'; s.onchange()")
    assert page.said()["left-tag"] == "teacher"
    assert page.errors() == []


def test_a_teacher_that_is_loaded_first_draws_the_next_photo(page: Page, photo: Path) -> None:
    page.open()
    page.script("document.getElementById('teacher').click()")
    page.wait("document.getElementById('teacher-detail').textContent.startsWith('loaded')")
    page.draw(photo)
    assert page.said()["ratio"].endswith("×")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_phone_and_desktop(page: Page, photo: Path, width: int, scheme: str) -> None:
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    if not page.script(f"return location.href.startsWith('{page.url}') && !!{READY}"):
        page.open()
    page.draw(photo)
    assert page.script("return document.documentElement.scrollWidth") <= width
    ground = page.script("return getComputedStyle(document.body).backgroundColor")
    assert (int(ground.partition("(")[2].partition(",")[0]) < 128) is (scheme == "dark")


def test_the_keyboard_reaches_and_moves_everything(page: Page, photo: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    page.open()
    page.draw(photo)
    reached = []
    for _ in range(12):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        reached.append(page.script("return document.activeElement.id"))
    assert {"slider", "open", "camera", "save", "size", "backend", "teacher"} <= set(reached)
    slider = page.browser.find_element("css selector", "#slider")
    slider.send_keys(Keys.HOME)
    clip = "return getComputedStyle(document.getElementById('before')).clipPath"
    assert page.script(clip) == "inset(0px 100% 0px 0px)"
    assert slider.get_attribute("aria-valuetext") == "0 % photo, the rest student"


def test_what_is_no_image_is_refused(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    page.open()
    page.browser.find_element("css selector", "#file").send_keys(str(text))
    page.wait("!document.getElementById('notice').hidden")
    assert page.said()["notice"] == "notes.txt is no image that this browser can open."


def test_it_works_offline_once_loaded(page: Page, student: nn.Module, photo: Path) -> None:
    page.open()
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    page.stop()
    page.browser.get("about:blank")
    page.browser.get(page.url)
    page.wait(READY)
    near(page.draw(photo), expected(student, photo))
    online = offline | {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", online)


def shown(browser: Any, model: Any, runtime: Path, folder: Path) -> Iterator[Page]:
    """Show another generator's page."""
    web(model, folder, runtime=runtime)
    page = Page(browser, folder)
    yield page
    page.stop()


@pytest.fixture
def noise_page(browser: Any, noise: nn.Module, runtime: Path, tmp_path: Path) -> Iterator[Page]:
    yield from shown(browser, noise, runtime, tmp_path / "page")


@pytest.fixture
def fixed_page(browser: Any, student: nn.Module, runtime: Path, tmp_path: Path) -> Iterator[Page]:
    file = tmp_path / "fixed.onnx"
    export_model(student, file, quantization="integer", fixed_size=True, size=48)
    yield from shown(browser, file, runtime, tmp_path / "page")


@pytest.fixture(scope="module")
def noise() -> nn.Module:
    """A tiny generator of noise, whose images vary."""
    torch.manual_seed(0)
    made = build_generator("dcgan", width=4, latent=16).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def test_noise_becomes_torchs_image(noise_page: Page, noise: nn.Module) -> None:
    noise_page.open()
    noise_page.wait("!document.getElementById('frame').hidden")
    first = noise_page.image()
    contract = spec_of(noise).contract
    drawn = noise_page.browser.execute_async_script(
        "const [count, done] = arguments;"
        "import('./pixels.js').then((m) => done([...m.noise(count, 0)]))",
        contract.latent_size,
    )
    latent = torch.tensor(drawn)[None]
    assert abs(float(latent.std()) - 1) < 0.3
    with torch.inference_mode():
        image = GeneratorAdapter(noise, contract)(latent)[0]
    codes = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.abs(first.astype(int) - codes).max() <= 1
    assert not noise_page.script("return document.getElementById('drop').offsetParent")
    noise_page.script("document.documentElement.dataset.state = 'waiting'")
    noise_page.browser.find_element("css selector", "#new").click()
    noise_page.wait(IDLE)
    assert (noise_page.image() != first).any()
    assert noise_page.errors() == []


def test_a_file_of_one_size_takes_photos_of_any(
    fixed_page: Page, student: nn.Module, photo: Path, tmp_path: Path
) -> None:
    fixed_page.open()
    assert fixed_page.said().get("size-field") is None
    assert fixed_page.draw(photo).shape == (36, 48, 3)  # of 53x70 pixels
    small = tmp_path / "small.png"
    with Image.open(photo) as image:
        image.crop((0, 0, 40, 30)).save(small)
    alone = GeneratorAdapter(student, replace(spec_of(student).contract, size=48, min_size=48))
    image = run_padded(alone, read_image(small).rgb[None])[0]
    codes = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    near(fixed_page.draw(small), codes)
