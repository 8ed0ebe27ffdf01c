"""The studio in a real Chromium: a page whose console and requests are watched, and what is done with it."""

import pytest

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}


class Watched:
    """A page whose console and requests are noted."""

    def __init__(self, chromium, server, **screen):
        self.context = chromium.new_context(
            accept_downloads=True, **{"locale": "en-GB", "reduced_motion": "reduce"} | screen
        )
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.server, self.console, self.requests = server, [], []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path="/"):
        self.page.goto(self.server.url + path)
        self.drawn()

    def drawn(self, num=8):
        """Waits until so many pictures hang on the wall and nothing is under way."""
        self.page.wait_for_function(
            """num => document.querySelectorAll('#wall img').length === num
                 && document.querySelector('#wall').getAttribute('aria-busy') === 'false'""",
            arg=num,
        )

    def write(self, caption):
        """Types a caption, as a person does, and waits for its pictures."""
        with self.page.expect_response(lambda answer: "generations" in answer.url and answer.ok):
            self.page.fill("#caption", caption)
        self.page.wait_for_function("() => document.querySelector('#wall').getAttribute('aria-busy') === 'false'")

    def wall(self):
        """The pixels on the wall, one text for all of them."""
        return self.page.evaluate(
            """async () => {
                 const pixels = async image => {
                   await image.decode();
                   const canvas = Object.assign(document.createElement('canvas'), {width: 16, height: 16});
                   canvas.getContext('2d').drawImage(image, 0, 0);
                   return [...canvas.getContext('2d').getImageData(0, 0, 16, 16).data];
                 };
                 return JSON.stringify(await Promise.all([...document.querySelectorAll('#wall img')].map(pixels)));
               }"""
        )

    def downloaded(self, press):
        with self.page.expect_download() as waiting:
            self.page.click(press)
        return waiting.value

    def close(self):
        foreign = [url for url in self.requests if not url.startswith((self.server.url, "blob:", "data:"))]
        self.context.close()
        assert self.console == [] and foreign == []


def serious_barriers(page):
    """What axe finds that is serious or worse: rules, and the first place of each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def drop(page, data, name="dropped.png"):
    """Drops a file on the page."""
    page.evaluate(
        """([data, name]) => {
             const files = new DataTransfer();
             files.items.add(new File([new Uint8Array(data)], name, {type: "image/png"}));
             window.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
           }""",
        [list(data), name],
    )
