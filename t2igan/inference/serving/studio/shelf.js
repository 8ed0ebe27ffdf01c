// History and favourites, as they lie in the browser.

import * as store from "./store.js";
import { say } from "./strings.js";
import { isSharp } from "./viewer.js";

const $ = (id) => document.getElementById(id);

export class Shelf {
  /** `actions` has restore(run) and open(pictures, which). */
  constructor(actions) {
    this.actions = actions;
    this.urls = { history: [], favourites: [] };
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
    this.forget("history");
    if (!runs.length) return this.nothing("history", "noHistory");
    const list = document.createElement("ul");
    list.className = "runs";
    list.append(...runs.map((run) => this.run(run)));
    $("history").replaceChildren(list, this.clearing());
  }

  run(run) {
    const item = document.createElement("li");
    item.className = "run";
    const back = button("back", () => this.actions.restore(run));
    back.setAttribute("aria-label", say("restore", run));
    const four = document.createElement("span");
    four.className = run.pictures.length < 4 ? "four one" : "four";
    four.append(...run.pictures.slice(0, run.pictures.length < 4 ? 1 : 4).map((one) => this.image("history", one.blob, run.px)));
    const text = document.createElement("span");
    text.append(span("said", run.caption), span("when", `${ago(run.time)} · ${run.num}`));
    back.append(four, text);
    const gone = button("quiet icon gone", async () => {
      await store.remove("runs", run.id);
      await this.showHistory();
    });
    gone.setAttribute("aria-label", say("remove", run));
    gone.textContent = "×";
    item.append(back, gone);
    return item;
  }

  clearing() {
    const clear = button("quiet below", async () => {
      if (!clear.dataset.sure) {
        clear.dataset.sure = "yes";
        clear.textContent = say("clearSure");
        return;
      }
      await store.clear("runs");
      await this.showHistory();
    });
    clear.textContent = say("clear");
    return clear;
  }

  async showFavourites() {
    const kept = await store.all("favourites");
    this.forget("favourites");
    if (!kept.length) {
      this.nothing("favourites", "noFavourites");
      return kept;
    }
    const list = document.createElement("ul");
    list.className = "thumbs";
    list.append(
      ...kept.map((picture, i) => {
        const item = document.createElement("li");
        const open = button("", () => this.actions.open(kept, i));
        const image = this.image("favourites", picture.blob, picture.px);
        image.alt = say("open", picture);
        open.append(image);
        item.append(open);
        return item;
      }),
    );
    $("favourites").replaceChildren(list);
    return kept;
  }

  nothing(place, text) {
    const paragraph = document.createElement("p");
    paragraph.className = "nothing";
    paragraph.textContent = say(text);
    $(place).replaceChildren(paragraph);
  }

  image(place, blob, px) {
    const image = document.createElement("img");
    image.src = URL.createObjectURL(blob);
    this.urls[place].push(image.src);
    image.alt = "";
    image.classList.toggle("sharp", isSharp(px));
    return image;
  }

  forget(place) {
    this.urls[place].forEach((url) => URL.revokeObjectURL(url));
    this.urls[place] = [];
  }
}

function button(kind, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.addEventListener("click", act);
  return made;
}

function span(kind, text) {
  const made = document.createElement("span");
  made.className = kind;
  made.textContent = text;
  if (kind === "when") made.style.display = "block";
  return made;
}

function ago(time) {
  const minutes = Math.floor((Date.now() - time) / 60_000);
  if (minutes < 1) return say("justNow");
  if (minutes < 60) return say("minutesAgo", { n: minutes });
  if (minutes < 24 * 60) return say("hoursAgo", { n: Math.floor(minutes / 60) });
  return new Date(time).toLocaleDateString();
}
