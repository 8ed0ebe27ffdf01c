// History and favourites, as they lie in the browser.

import { $, button, make } from "./dom.js";
import { Images } from "./images.js";
import * as store from "./store.js";
import { languageNow, say } from "./strings.js";
import { nameOf } from "./wall.js";

export class Shelf {
  /** `actions`: restore(run), open(pictures, which), zip(pictures), drag (a `Dragging`). */
  constructor(actions) {
    this.actions = actions;
    this.images = { history: new Images(), favourites: new Images() };
    this.tabs = [$("tab-history"), $("tab-favourites")];
    for (const tab of this.tabs) {
      tab.addEventListener("click", () => this.choose(tab));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        const other = this.tabs.find((one) => one !== tab);
        this.choose(other);
        other.focus();
      });
    }
  }

  choose(tab) {
    for (const one of this.tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      $(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
  }

  async showHistory() {
    const runs = await store.all("runs");
    this.images.history.clear();
    if (!runs.length) return this.nothing("history", "noHistory");
    const list = make("ul", { className: "runs" }, ...runs.map((run) => this.run(run)));
    $("history").replaceChildren(list, this.clearing());
  }

  run(run) {
    const few = run.pictures.length < 4;
    const images = run.pictures.slice(0, few ? 1 : 4).map(({ blob }) => this.images.history.of({ blob, px: run.px }));
    const caption = run.caption || say("yours");
    const what = run.made ? say(`made_${run.made}`) : say("count", { num: run.num });
    const text = make("span", {}, make("span", { className: "said" }, caption), make("span", { className: "when" }, `${ago(run.time)} · ${what}`));
    const back = button("back", make("span", { className: few ? "four one" : "four" }, ...images), () => this.actions.restore(run), {
      label: say("restore", { caption, what }),
    });
    back.append(text);
    const gone = button("quiet icon gone", "×", async () => {
      await store.remove("runs", run.id);
      await this.showHistory();
    }, { label: say("remove", { caption }) });
    return make("li", { className: "run" }, back, gone);
  }

  clearing() {
    const clear = button("quiet below", say("clear"), async () => {
      if (!clear.dataset.sure) {
        clear.dataset.sure = "yes";
        clear.textContent = say("clearSure");
        return;
      }
      await store.clear("runs");
      await this.showHistory();
    });
    return clear;
  }

  async showFavourites() {
    const kept = await store.all("favourites");
    this.images.favourites.clear();
    if (!kept.length) {
      this.nothing("favourites", "noFavourites");
      return kept;
    }
    const places = kept.map((picture, i) => {
      const place = button("", this.images.favourites.of(picture, nameOf(picture)), () => this.actions.open(kept, i));
      this.actions.drag.both(place, picture);
      return make("li", {}, place);
    });
    const all = button("quiet below", say("all"), () => this.actions.zip(kept));
    $("favourites").replaceChildren(make("ul", { className: "thumbs" }, ...places), all);
    return kept;
  }

  nothing(place, text) {
    $(place).replaceChildren(make("p", { className: "nothing" }, say(text)));
  }
}

function ago(time) {
  const minutes = Math.floor((Date.now() - time) / 60_000);
  if (minutes < 1) return say("justNow");
  if (minutes < 60) return say("minutesAgo", { n: minutes });
  if (minutes < 24 * 60) return say("hoursAgo", { n: Math.floor(minutes / 60) });
  return new Date(time).toLocaleDateString(languageNow() === "zh" ? "zh-CN" : undefined);
}
