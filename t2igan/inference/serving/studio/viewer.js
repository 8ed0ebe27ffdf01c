// One picture, large: its pixels stay sharp squares.

import * as api from "./api.js";
import { languageNow, say } from "./strings.js";

const $ = (id) => document.getElementById(id);
const SIZES = [1, 128, 256, 512, 1024]; // of files, as far as they are above the picture's own

/** Whether pixels are shown as squares: small pictures are made of them, large ones are not. */
export const isSharp = (px) => px <= 128;

/** Has the browser save a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export class Viewer {
  /** `actions`: similar, favour, isFavourite, editable, vary (of a picture), edit (picture, caption). */
  constructor(actions) {
    Object.assign(this, { actions, pictures: [], at: 0, url: "" });
    this.dialog = $("viewer");
    $("close").addEventListener("click", () => this.dialog.close());
    $("previous").addEventListener("click", () => this.step(-1));
    $("next").addEventListener("click", () => this.step(1));
    $("similar").addEventListener("click", () => {
      this.dialog.close();
      actions.similar(this.picture);
    });
    $("vary").addEventListener("click", () => {
      this.dialog.close();
      actions.vary(this.picture);
    });
    $("edit").addEventListener("submit", (event) => {
      event.preventDefault();
      const caption = $("edit-caption").value.trim();
      if (!caption || caption === this.picture.caption) return $("edit-caption").focus();
      this.dialog.close();
      actions.edit(this.picture, caption);
    });
    $("favourite").addEventListener("click", async () => {
      await actions.favour(this.picture);
      this.showFavourite();
    });
    $("download").addEventListener("click", () => this.download());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => URL.revokeObjectURL(this.url));
    this.dialog.addEventListener("keydown", (event) => {
      if (/SELECT|INPUT/.test(event.target.tagName)) return;
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
  }

  step(by) {
    this.at = (this.at + by + this.pictures.length) % this.pictures.length;
    this.show();
  }

  show() {
    const picture = this.picture;
    URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(picture.blob);
    const image = $("viewer-picture");
    image.src = this.url;
    image.alt = say("picture", picture);
    image.classList.toggle("sharp", isSharp(picture.px));
    $("viewer-caption").textContent = picture.caption;
    const variety = Number(picture.variety).toLocaleString(languageNow());
    $("edit-caption").value = picture.caption;
    $("edit").hidden = $("vary").hidden = !this.actions.editable(picture);
    $("size").hidden = $("similar").hidden = Boolean(picture.made); // no seed draws it again
    $("viewer-meta").textContent = say(picture.made ? "metaMade" : "meta", { seed: picture.seed, variety, model: picture.model });
    $("previous").disabled = $("next").disabled = this.pictures.length < 2;
    const sizes = [...new Set(SIZES.map((px) => Math.ceil(px / picture.px) * picture.px))].filter((px) => px <= 2048);
    const usual = sizes.find((px) => px >= 512) ?? sizes.at(-1);
    $("size").replaceChildren(...sizes.map((px) => new Option(`${px} px`, px, px === usual, px === usual)));
    this.showFavourite();
    this.fit();
  }

  showFavourite() {
    $("favourite").setAttribute("aria-pressed", String(this.actions.isFavourite(this.picture)));
  }

  /** The largest whole multiple of the picture's pixels that fits, so that all of them are equally large. */
  fit() {
    const room = Math.min(innerWidth - (innerWidth > 560 ? 160 : 40), innerHeight - 260, 640);
    const px = this.picture.px;
    const shown = isSharp(px) ? Math.max(Math.floor(room / px), 1) * px : Math.min(room, px * 2);
    const image = $("viewer-picture");
    image.style.width = image.style.height = `${shown}px`;
  }

  async download() {
    const picture = this.picture;
    let { blob } = picture;
    if (picture.made) return save(blob, `t2igan_${picture.made}_seed${picture.seed}.png`);
    try {
      [{ blob }] = await api.draw(picture, [picture.seed], Number($("size").value));
    } catch (error) {
      if (!(error instanceof api.Refusal)) throw error; // the server is away: the picture as it was drawn is here
    }
    save(blob, `t2igan_seed${picture.seed}.png`);
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
