"""How long the studio takes to show pictures: after it is opened, and after the last key.

python -m benchmarks.studio --workdir=t2igan/inference/models/pixel_avatars.safetensors

A Chromium on the path opens the page of a server on this machine, several times, with nothing kept from before; then
captions are typed. Times are of the browser's own clock, to the moment when the pictures hang; a busy machine makes
them longer.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serve import start
from benchmarks.timing import parser, publish, table

CAPTIONS = (
    "a pixel person with red hair",
    "a person with a blue cap",
    "a person with a green top",
    "green hair, glasses",
)
_HANGS = """() => document.querySelectorAll('#wall img').length
     && document.querySelector('#wall').getAttribute('aria-busy') === 'false'"""
_TYPES = """caption => new Promise(resolve => {
     const field = document.querySelector('#caption'), said = document.querySelector('#spoken');
     const begun = performance.now();
     new MutationObserver((_, watch) => {
       if (!said.textContent.includes(caption)) return;
       watch.disconnect();
       resolve(performance.now() - begun);
     }).observe(said, {childList: true, characterData: true, subtree: true});
     field.value = caption;
     field.dispatchEvent(new InputEvent('input', {bubbles: true}));
   })"""


def times_ms(browser: Any, port: int, repeats: int) -> tuple[list[float], list[float]]:
    """Returns the milliseconds to the first pictures of a page, and from the last key to those of a caption."""
    opened, typed = [], []
    for _ in range(repeats):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_function(_HANGS)  # asked at each frame
        opened.append(page.evaluate("() => performance.now()"))
        typed += [page.evaluate(_TYPES, caption) for caption in CAPTIONS]
        context.close()
    return opened, typed


def main() -> None:
    """Prints the table."""
    from playwright.sync_api import sync_playwright

    arguments = parser(__doc__)
    arguments.add_argument("--workdir", required=True, type=Path)
    arguments.add_argument("--repeats", type=int, default=5)
    given = arguments.parse_args()
    process, port = start(given.workdir)
    try:
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            found = times_ms(browser, port, given.repeats)
            browser.close()
    finally:
        process.terminate()
        process.wait(60)
    rows = []
    for name, times in zip(("page opened", "caption typed"), found, strict=True):
        low, middle, high = np.percentile(times, [0, 50, 100])
        rows.append((name, str(len(times)), f"{low:.0f}", f"{middle:.0f}", f"{high:.0f}"))
    load = ", ".join(f"{one:.0f}" for one in os.getloadavg())
    title = f"{given.workdir}, {os.cpu_count()} cores, load {load}"
    columns = ("", "times", "least ms", "median ms", "most ms")
    publish("\n\n".join([title, table(columns, rows)]), given.out)


if __name__ == "__main__":
    main()
