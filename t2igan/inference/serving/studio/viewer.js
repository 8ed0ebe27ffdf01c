// One picture, large, with sharp pixels, and what can be done with it.

import * as api from "./api.js";
import { marked } from "./differences.js";
import { $, closable } from "./dom.js";
import { download } from "./downloads.js";
import { Explanation } from "./explain.js";
import { Images } from "./images.js";
import { whyNot } from "./notes.js";
import { isSharp } from "./runs.js";
import { isEditable, modelOf } from "./state.js";
import { languageNow, say } from "./strings.js";

const SIZES = [1, 128, 256, 512, 1024]; // of files, as far as they are above the picture's own

/** Gives an image the largest whole multiple of its pixels that fits, so that all of them are equally large. */
export function fit(element, px, room) {
  const shown = isSharp(px) ? Math.max(Math.floor(room / px), 1) * px : room;
  element.style.width = element.style.height = `${shown}px`;
  return shown;
}

/** The side of the square that a dialog with a panel beside or below it has for a picture, in CSS pixels. */
export function roomFor(besides = 0) {
  const wide = innerWidth >= 900;
  return Math.max(Math.min(innerWidth - (wide ? 560 : 32), wide ? innerHeight - 120 - besides : innerHeight * 0.5 - besides, 720), 96);
}

export class Viewer {
  /** `actions`: similar, vary, brush, mix, favour (of a picture), edit (picture, caption), shows (picture, caption), isFavourite (id). */
  constructor(actions) {
    Object.assign(this, { actions, pictures: [], at: 0, images: new Images() });
    this.dialog = $("viewer");
    this.explanation = new Explanation();
    closable(this.dialog, $("close"));
    $("previous").addEventListener("click", () => this.step(-1));
    $("next").addEventListener("click", () => this.step(1));
    for (const name of ["similar", "vary", "brush", "mix"]) {
      $(name).addEventListener("click", () => {
        this.dialog.close();
        actions[name](this.picture);
      });
    }
    $("edit").addEventListener("submit", (event) => {
      event.preventDefault();
      const caption = $("edit-caption").value.trim();
      if (!caption || caption === this.picture.caption) return $("edit-caption").focus();
      this.dialog.close();
      actions.edit(this.picture, caption);
    });
    $("edit-caption").addEventListener("input", () => this.showDifferences());
    $("edit-caption").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("edit").requestSubmit();
    });
    $("shows").addEventListener("change", () => {
      const caption = $("shows-caption").value.trim();
      Object.assign(this.picture, { caption });
      actions.shows(this.picture, caption);
      this.show();
    });
    $("shows").addEventListener("submit", (event) => event.preventDefault());
    $("favourite").addEventListener("click", async () => {
      await actions.favour(this.picture);
      this.showFavourite();
    });
    $("explain").addEventListener("click", () => this.explanation.of(this.picture));
    $("download").addEventListener("click", () => download(this.picture, Number($("size").value)));
    this.dialog.addEventListener("close", () => {
      this.images.clear();
      this.stopDescribing?.abort();
      this.explanation.hide();
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (/SELECT|INPUT|TEXTAREA/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "ArrowLeft") this.step(-1);
      else if (event.key === "ArrowRight") this.step(1);
      else if (event.key === "f") $("favourite").click();
    });
    this.listenToSwipes();
    addEventListener("resize", () => this.dialog.open && this.fit());
  }

  get picture() {
    return this.pictures[this.at];
  }

  open(pictures, at) {
    this.pictures = pictures;
    this.at = at;
    if (!this.dialog.open) this.dialog.showModal();
    this.show();
    this.dialog.querySelector(".panel").scrollTop = 0;
  }

  step(by) {
    this.at = (this.at + by + this.pictures.length) % this.pictures.length;
    this.show();
  }

  show() {
    const picture = this.picture;
    const given = picture.made === "given";
    this.images.clear();
    this.images.put($("viewer-picture"), picture, picture.made ? picture.caption || say("yours") : say("picture", picture));
    $("viewer-caption").textContent = picture.caption || say("yours");
    const variety = Number(picture.variety).toLocaleString(languageNow());
    const meta = picture.made ? say(`made_${picture.made}`) : say("meta", { seed: picture.seed, variety });
    $("viewer-meta").textContent = given && !picture.caption ? picture.model : `${meta} · ${picture.model}`;
    $("viewer-count").textContent = this.pictures.length > 1 ? `${this.at + 1} / ${this.pictures.length}` : "";
    $("previous").hidden = $("next").hidden = this.pictures.length < 2;
    this.showTools(given);
    this.showFavourite();
    this.fit();
  }

  showTools(given) {
    const picture = this.picture;
    const model = modelOf(picture.digest);
    $("shows").hidden = !given;
    if (given) $("shows-caption").value = picture.caption;
    const unknown = given && !picture.caption && !model?.t2igan.captioner; // what it shows
    $("shows-note").textContent = unknown && isEditable(picture) ? say("showsFirst") : "";
    if (given && !picture.caption && model?.t2igan.captioner) this.describe(picture);
    $("change").hidden = !isEditable(picture);
    for (const name of ["edit", "vary", "mix"]) $(name).hidden = unknown;
    $("edit-caption").value = picture.caption;
    this.showDifferences();
    $("explain-section").hidden = Boolean(picture.made) || !model || !this.explanation.suits(picture);
    this.explanation.hide();
    $("size").hidden = Boolean(picture.made); // no seed draws it again
    $("similar").hidden = given ? !picture.caption : Boolean(picture.made);
    $("similar").textContent = say(given ? "drawThis" : "similar");
    const sizes = [...new Set(SIZES.map((px) => Math.ceil(px / picture.px) * picture.px))].filter((px) => px <= 2048);
    const usual = sizes.find((px) => px >= 512) ?? sizes.at(-1);
    $("size").replaceChildren(...sizes.map((px) => new Option(`${px} px`, px, px === usual, px === usual)));
  }

  showDifferences() {
    const [before, after] = [this.picture.caption, $("edit-caption").value.trim()];
    const changed = before && after && before !== after;
    $("edit-diff").replaceChildren(...(changed ? marked(before, after) : []));
    $("edit-diff").hidden = !changed;
  }

  /** Asks the model what a picture of the user's shows. */
  async describe(picture) {
    this.stopDescribing?.abort();
    const mine = (this.stopDescribing = new AbortController());
    $("shows-note").textContent = say("describing");
    try {
      const found = await api.describe(picture, { signal: mine.signal });
      if (this.picture !== picture || picture.caption) return; // somebody was quicker
      picture.caption = found.caption;
      this.actions.shows(picture, found.caption);
      this.show();
      $("shows-note").textContent = say(found.unlike ? "describedUnlike" : "described");
    } catch (error) {
      const why = whyNot(error);
      if (why) $("shows-note").textContent = why;
    }
  }

  showFavourite() {
    $("favourite").setAttribute("aria-pressed", String(this.actions.isFavourite(this.picture.id)));
  }

  fit() {
    fit($("viewer-picture"), this.picture.px, roomFor());
  }

  listenToSwipes() {
    let from = null;
    const picture = $("viewer-picture");
    picture.addEventListener("touchstart", (event) => (from = event.touches.length === 1 ? event.touches[0].clientX : null), { passive: true });
    picture.addEventListener("touchend", (event) => {
      const by = from === null ? 0 : event.changedTouches[0].clientX - from;
      if (Math.abs(by) > 40) this.step(by > 0 ? -1 : 1);
    });
  }
}
