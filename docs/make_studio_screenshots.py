"""Takes the screenshots of docs/serving.md and the README from a server that runs, with a Chromium on the path.

t2igan serve --workdir=models/toon_avatars --workdir=models/noto_emoji_128
python docs/make_studio_screenshots.py http://127.0.0.1:8000
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
CAPTIONS = (
    "a surprised person with black spiky hair and a twirled moustache wearing a pink shirt, light skin",
    "laughing face, long blond side-combed hair, black turtleneck, light skin",
    "a laughing person with red-brown hair",
)
CHANGED = f"{CAPTIONS[-1]} wearing a green turtleneck"


def opened(browser: Browser, url: str, hash_: str = "", **screen: Any) -> Page:
    """The studio, with pictures on its wall and nothing that moves."""
    context = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce"} | screen)
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{url}/#{hash_}")
    drawn(page)
    return page


def drawn(page: Page) -> None:
    """Waits until nothing is under way."""
    page.wait_for_function(
        """() => document.querySelectorAll('#wall img').length
             && document.querySelector('#wall').getAttribute('aria-busy') === 'false'"""
    )
    page.wait_for_timeout(400)


def draw(page: Page, caption: str) -> None:
    """Draws a caption, and puts it into the history."""
    page.fill("#caption", caption)
    page.press("#caption", "Enter")
    page.wait_for_function("said => document.querySelector('#history').textContent.includes(said)", arg=caption)
    drawn(page)


def keep(page: Page, name: str) -> None:
    """Writes what is seen."""
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(IMAGES / f"{name}.png", optimize=True)


def desktop(browser: Browser, url: str) -> None:
    """The page, a picture enlarged, the brush, and what lies between two pictures."""
    page = opened(browser, url, "s=7", viewport={"width": 1440, "height": 900})
    for caption in CAPTIONS:
        draw(page, caption)
    page.locator("#caption").blur()
    keep(page, "studio")
    page.click("#wall li:nth-child(2) button")
    page.fill("#edit-caption", CHANGED)
    page.click("#explain")
    page.wait_for_selector("#explained .word")
    page.wait_for_timeout(300)
    keep(page, "studio_viewer")
    page.click("#brush")
    page.fill("#brush-size", "6")
    box = page.locator("#painter-canvas").bounding_box()
    assert box
    unit = box["width"] / 64
    for row in (54, 60):  # the garment
        page.mouse.move(box["x"] + 14 * unit, box["y"] + row * unit)
        page.mouse.down()
        page.mouse.move(box["x"] + 50 * unit, box["y"] + row * unit, steps=8)
        page.mouse.up()
    page.fill("#painter-caption", CHANGED)
    keep(page, "studio_brush")


def phone(browser: Browser, url: str) -> None:
    """The page on a phone, dark and in Chinese."""
    screen = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    page = opened(browser, url, locale="zh-CN", color_scheme="dark", **screen)
    page.fill("#caption", f"{CAPTIONS[1]}, zeppelin")
    page.locator("#caption").blur()
    page.wait_for_function("() => document.querySelector('#words').textContent")
    drawn(page)
    keep(page, "studio_phone")


def main(url: str) -> None:
    """Takes them all."""
    with sync_playwright() as started:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        desktop(browser, url)
        phone(browser, url)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
