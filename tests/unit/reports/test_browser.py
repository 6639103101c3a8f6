"""The page in real headless Chromium: by mouse, by keyboard, on a phone and on a desktop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser import chromium, errors_of, requests_of, show
from tests.run_folders import finished_run

from gan_slimming.reports.comparison import compare
from gan_slimming.reports.run import report

SLIDER = ".slider"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = finished_run(tmp_path_factory.mktemp("runs") / "run", side=96)
    return Path(report(folder)["report"])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("several")
    folders = [finished_run(root / name, seed=seed) for seed, name in enumerate(("a", "b"))]
    compare(folders, root / "all.html")
    return root / "all.html"


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def divide_of(browser: Any) -> float:
    """Where the images are divided, in percent; the same for the slider, the clip and the line."""
    value = int(find(browser, SLIDER).get_property("value")) / 10
    clip = browser.execute_script(
        "return getComputedStyle(document.querySelector('.over')).clipPath"
    )
    frame = find(browser, ".frame").rect
    line = browser.execute_script(
        "return document.querySelector('.divider').getBoundingClientRect().left"
    )
    assert clip == f"inset(0px {100 - value:g}% 0px 0px)"
    assert line + 1 - frame["x"] == pytest.approx(frame["width"] * value / 100, abs=1)
    return value


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_asks_for_nothing(
    browser: Any, page: Path, compared: Path, width: int, scheme: str
) -> None:
    for file in (page, compared):
        requests_of(browser)
        show(browser, file, width, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert requests_of(browser) == [file.as_uri()]
        assert errors_of(browser) == []
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    dark = int(ground.partition("(")[2].partition(",")[0]) < 128
    assert dark is (scheme == "dark")


def test_whatever_would_be_fetched_is_refused_and_seen(
    browser: Any, page: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.html"
    text = page.read_text().replace("<main>", '<main><img src="http://localhost:9/x.png">')
    broken.write_text(text.replace('"use strict";', '"use strict"; missing();'))
    show(browser, broken, 390)
    said = " ".join(errors_of(browser))
    assert "Content Security Policy" in said
    assert "missing is not defined" in said


def test_the_slider_follows_the_mouse(browser: Any, page: Path) -> None:
    from selenium.webdriver import ActionChains

    show(browser, page, 1280)
    assert divide_of(browser) == 50
    frame = find(browser, ".frame")
    width = frame.rect["width"]
    chain = ActionChains(browser).move_to_element(frame).click_and_hold()
    chain.move_by_offset(int(width / 4), 0).release().perform()
    assert divide_of(browser) == pytest.approx(75, abs=1)
    ActionChains(browser).move_to_element_with_offset(
        frame, int(-0.4 * width), 20
    ).click().perform()
    assert divide_of(browser) == pytest.approx(10, abs=1)
    assert errors_of(browser) == []


def test_the_slider_follows_the_keyboard(browser: Any, page: Path) -> None:
    from selenium.webdriver import Keys

    show(browser, page, 390)
    slider = find(browser, SLIDER)
    for keys, expected in ((Keys.ARROW_RIGHT * 3, 53), (Keys.HOME, 0), (Keys.END, 100),
                           (Keys.ARROW_LEFT, 99)):  # fmt: skip
        slider.send_keys(keys)
        assert divide_of(browser) == expected
    assert slider.get_attribute("aria-valuetext") == "99 % teacher, the rest student"


def test_everything_can_be_reached_by_tab(browser: Any, page: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    show(browser, page, 1280)
    reached = []
    for _ in range(60):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.execute_script(
            "const e = document.activeElement; return e.className || e.name || e.tagName"
        ))  # fmt: skip
    for wanted in ("left", "right", "zoom", "stage", "slider", "training-axis", "SUMMARY", "A"):
        assert wanted in reached
    assert reached.count("BUTTON") >= 5


def test_images_are_chosen_and_put_in_order(browser: Any, page: Path) -> None:
    from selenium.webdriver import Keys
    from selenium.webdriver.support.ui import Select

    show(browser, page, 1280)
    names = "return [...document.querySelectorAll('.strip li')].map((x) => x.dataset.name)"
    photos = [f"photo{i}.jpg" for i in range(5)]
    assert browser.execute_script(names) == photos[::-1]  # the worst by LPIPS
    Select(find(browser, ".order select")).select_by_value("flip worst")
    assert browser.execute_script(names) == photos
    assert "photo0.jpg · LPIPS 0.01 · FLIP 0.4" in find(browser, ".caption").text
    assert find(browser, ".strip .rank").text == "1 of 5"
    second = browser.find_elements("css selector", ".strip button")[1]
    second.send_keys(Keys.ENTER)
    assert second.get_attribute("aria-pressed") == "true"
    assert "photo1.jpg" in find(browser, ".caption").text


def test_each_view_can_stand_on_either_side(browser: Any, page: Path) -> None:
    from selenium.webdriver.support.ui import Select

    show(browser, page, 1280)
    for view in ("input", "difference ×4"):
        Select(find(browser, "select.left")).select_by_visible_text(view)
        assert find(browser, ".tag-left").text == view
        same = browser.execute_script(
            "return document.querySelector('.over').src === document.querySelector("
            f"'.strip li img[data-view=\"{view}\"]').src"
        )
        assert same


def test_at_100_percent_a_pixel_is_a_pixel(browser: Any, page: Path) -> None:
    show(browser, page, 390)
    sizes = "const f = document.querySelector('.frame'); return [f.offsetWidth, f.offsetHeight]"
    fitted = browser.execute_script(sizes)
    assert fitted[0] == fitted[1] <= 390
    for value, side in (("1", 96), ("4", 384), ("2", 192)):
        box = find(browser, f'input[name="zoom"][value="{value}"]')
        browser.execute_script("arguments[0].click()", box)
        assert browser.execute_script(sizes) == [side, side]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    rendering = "return getComputedStyle(document.querySelector('.over')).imageRendering"
    assert browser.execute_script(rendering) == "pixelated"


def test_curves_are_shown_over_steps_or_over_time(browser: Any, page: Path) -> None:
    show(browser, page, 1280)
    shown = [find(browser, f"#training .by-{axis}").is_displayed() for axis in ("step", "time")]
    assert shown == [True, False]
    box = find(browser, 'input[name="training-axis"][value="time"]')
    browser.execute_script("arguments[0].click()", box)
    shown = [find(browser, f"#training .by-{axis}").is_displayed() for axis in ("step", "time")]
    assert shown == [False, True]


def test_texts_of_charts_do_not_overlap(browser: Any, page: Path, compared: Path) -> None:
    script = """
    const clashes = [];
    for (const svg of document.querySelectorAll("svg")) {
      const texts = [...svg.querySelectorAll("text")].map((x) => [x.textContent, x.getBBox()]);
      for (const [i, [name, a]] of texts.entries())
        for (const [other, b] of texts.slice(i + 1))
          if (a.width && b.width && a.x < b.x + b.width - 0.5 && b.x < a.x + a.width - 0.5 &&
              a.y < b.y + b.height - 3 && b.y < a.y + a.height - 3)
            clashes.push(`${svg.getAttribute("aria-label")}: ${name} / ${other}`);
      for (const [name, a] of texts)
        if (a.width && (a.x < -0.5 || a.x + a.width > 360.5)) clashes.push(`outside: ${name}`);
    }
    return clashes;
    """
    for file in (page, compared):
        show(browser, file, 1280)
        assert browser.execute_script(script) == []


def test_without_scripts_all_images_are_there(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page, 390)
        images = browser.find_elements("css selector", ".strip img")
        assert len(images) == 20
        assert all(image.is_displayed() for image in images)
        assert not find(browser, ".viewer").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
