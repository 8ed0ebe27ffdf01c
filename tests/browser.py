"""A page in a real browser: what it says on its console, what it asks the network for, and whether it fits a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)


@dataclass(frozen=True)
class Seen:
    """What a browser saw of a page."""

    console: list[str]  # messages of whatever level, refusals by the page's own policy among them
    requests: list[str]  # addresses asked for; files, data and what the browser asks its maker are left out
    width_px: int  # of the window that the page was given
    content_px: int  # how wide the page came out; more than the window means sideways scrolling
    text: str  # as shown
    dark: bool  # whether the page was told to be dark


def look(page: str, folder: Path, width_px: int, dark: bool = False, until: str = "", act: str = "") -> Seen:
    """Opens a page, as it would be on a screen of this width, in a headless Chromium.

    The window of a headless Chromium is never narrower than 500 px, so the page is put into a frame of the width asked
    for, which to style sheets is the window; the frame's page is measured and read by the page around it: when it has
    loaded, and again until it shows the text `until`; then JavaScript `act` runs, with the page's document as `inside`,
    and two seconds later it is measured once more.
    """
    measure = """
      const frame = document.querySelector("iframe");
      let acted = false;
      const measure = () => {
        const inside = frame.contentDocument, root = inside.documentElement;
        for (const d of inside.querySelectorAll("details")) d.open = true;
        const widest = Math.max(root.scrollWidth, inside.body.scrollWidth);
        document.body.dataset.seen = JSON.stringify([root.clientWidth, widest, inside.body.innerText,
          frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches]);
        if (acted) return;
        acted = inside.body.innerText.includes(UNTIL);
        if (acted) { ACT }
        setTimeout(measure, acted ? 2000 : 100);
      };
      frame.addEventListener("load", measure);
      frame.srcdoc = SOURCE;
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = json.dumps(page).replace("<", "\\u003c")
    around = folder / "around.html"
    around.write_text(
        f'<!doctype html><meta charset="utf-8"><body><iframe width="{width_px}" height="4000" frameborder="0"></iframe>'
        f"<script>{measure.replace('UNTIL', json.dumps(until)).replace('ACT', act).replace('SOURCE', source)}</script>",
        encoding="utf-8",
    )
    net_log = folder / "net.json"
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={net_log}",
            *(
                "--enable-logging=stderr",
                "--window-size=1600,1200",
                f"--virtual-time-budget={60_000 if until else 3_000}",
            ),
            *(("--force-dark-mode", "--blink-settings=preferredColorScheme=0") if dark else ()),
            "--dump-dom",
            around.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, f"the page did not load: {done.stderr[-2000:]}"
    width, content, text, was_dark = json.loads(html.unescape(found[1]))
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(console, _requests(net_log), width, content, text, was_dark)


def screenshot(page: Path, out: Path, width_px: int, height_px: int, scale: float = 1.0) -> None:
    """Writes a picture of a page as a screen of this width shows it."""
    around = out.with_suffix(".around.html")
    inside = html.escape(page.read_text(encoding="utf-8"))
    around.write_text(
        '<!doctype html><meta charset="utf-8"><style>body{margin:0}</style>'
        f'<iframe width="{width_px}" height="{height_px}" style="border:0;display:block" srcdoc="{inside}"></iframe>',
        encoding="utf-8",
    )
    subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"),
            f"--window-size={max(width_px, 500)},{height_px}",
            f"--force-device-scale-factor={scale}",
            f"--screenshot={out}",
            around.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    around.unlink()


def _requests(net_log: Path) -> list[str]:
    """The addresses in a log of Chromium's network; one cut short is read as far as it goes."""
    text = net_log.read_text(encoding="utf-8", errors="replace")
    found = set(re.findall(r'"url":"([^"]+)"', text))
    own = re.compile(
        r"(file|data|about|chrome|chrome-extension):|https?://([a-z0-9-]+\.)*(google|googleapis|gstatic)\.com/"
    )
    return sorted(address for address in found if not own.match(address))
