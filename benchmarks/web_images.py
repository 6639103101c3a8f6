"""Take the images of docs/web.md: the page of a shipped student in headless Chromium.

    python benchmarks/web_images.py cartoon-hayao --teacher cartoongan:Hayao_net_G_float.pth \
        --output docs/images

The photo is one of scikit-image, which no generator of the package was trained on.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import skimage
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the browser of the tests

from tests.browser import chromium

from gan_slimming.reports.web.server import page_server
from gan_slimming.workflows.web import web

PHOTO = Path(skimage.__file__).parent / "data" / "coffee.png"
SCREENS = ((1280, 900, "light"), (390, 1068, "dark"))
"""Width and height in CSS pixels, and the colour scheme."""
IDLE = "document.documentElement.dataset.state === 'idle'"
OFFLINE = "document.getElementById('offline').textContent"
LOADED = "document.getElementById('teacher-detail').textContent.startsWith('loaded')"
TURNS = 4
"""Images that are drawn: the first does not count in the page's times."""
PATIENCE = 300.0
"""Seconds for an image of the teacher."""


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("model", help="MODEL")
    made.add_argument("--teacher", help="MODEL that is loaded on the wide screen")
    made.add_argument("--runtime-files", type=Path, help="node_modules/onnxruntime-web/dist")
    made.add_argument("--output", type=Path, required=True)
    given = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        web(given.model, page, teacher=given.teacher, runtime=given.runtime_files)
        with page_server(page) as server, chromium(Path(folder) / "profile") as browser:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://localhost:{server.server_address[1]}/"
            for width, height, scheme in SCREENS:
                shown(browser, address, width, height, scheme)
                if given.teacher and width > 1000:
                    browser.find_element("css selector", "#teacher").click()
                    wait(browser, LOADED)
                for _ in range(TURNS):
                    draw(browser)
                image = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
                image.save(given.output / f"web-{width}.webp", quality=82, method=6)
            server.shutdown()


def shown(browser: Any, address: str, width: int, height: int, scheme: str) -> None:
    """Open the page on a screen of this size."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(address)
    wait(browser, OFFLINE)


def draw(browser: Any) -> None:
    """Give the page the photo, and wait for what it draws."""
    browser.execute_script("document.documentElement.dataset.state = 'waiting'")
    browser.find_element("css selector", "#file").send_keys(str(PHOTO))
    wait(browser, IDLE)


def wait(browser: Any, condition: str) -> None:
    """Wait until a condition in the page holds."""
    end = time.monotonic() + PATIENCE
    while not browser.execute_script(f"return {condition}"):
        if time.monotonic() > end:
            raise SystemExit(f"{condition} did not come")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
