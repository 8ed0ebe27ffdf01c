// Between two pictures: a slider from one to the other, and a GIF of the way there and back.

import * as api from "./api.js";
import { $, closable } from "./dom.js";
import { save } from "./downloads.js";
import { Images } from "./images.js";
import { whyNot } from "./notes.js";
import { keptPx } from "./runs.js";
import { modelOf } from "./state.js";
import { say } from "./strings.js";
import { fit, roomFor } from "./viewer.js";

const FRAMES = 16;
const FRAME_MS = 120;

export class Mixer {
  /** `hang` gets two pictures and what lies between them, [{seed, blob}]. */
  constructor(hang) {
    Object.assign(this, { hang, pair: null, frames: [], images: new Images(), asking: null, playing: 0 });
    this.dialog = $("mixer");
    closable(this.dialog, $("mixer-close"));
    this.dialog.addEventListener("close", () => this.leave());
    $("mix-slider").addEventListener("input", () => {
      this.stop();
      this.show();
    });
    $("mix-play").addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    $("mix-gif").addEventListener("click", () => this.gif());
    $("mix-hang").addEventListener("click", () => {
      this.dialog.close();
      this.hang(...this.pair, this.frames);
    });
    addEventListener("resize", () => this.dialog.open && this.fit());
  }

  get px() {
    return modelOf(this.pair[0].digest).t2igan.native_px;
  }

  async open(one, other) {
    this.pair = [one, other];
    this.frames = [];
    for (const [place, picture] of [["mix-from", one], ["mix-to", other]]) {
      this.images.put($(place), picture, picture.caption || say("yours"));
    }
    $("mix-from-caption").textContent = one.caption || say("yours");
    $("mix-to-caption").textContent = other.caption || say("yours");
    Object.assign($("mix-slider"), { max: FRAMES - 1, value: 0 });
    this.ready(false);
    this.images.put($("mix-picture"), { blob: one.blob, px: this.px }, say("mixAt", { percent: 0 }));
    this.dialog.showModal();
    this.fit();
    const frames = await this.ask(false);
    if (!frames) return;
    this.frames = frames;
    this.shown = frames.map((frame) => this.images.url(frame.blob));
    this.ready(true);
    this.show();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  /** Asks for the frames, or for a GIF of them; returns null where that fails, and says why. */
  async ask(gif) {
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    $("mix-progress").hidden = false;
    $("mix-note").textContent = say("mixing");
    try {
      const found = await api.between(...this.pair, { frames: FRAMES, px: gif ? keptPx(this.px) : this.px, gif }, {
        signal: mine.signal,
        said: (share) => share > 0 && ($("mix-progress").value = share),
      });
      $("mix-note").textContent = "";
      return found;
    } catch (error) {
      const why = whyNot(error);
      if (why) $("mix-note").textContent = why;
      return null;
    } finally {
      if (this.asking === mine) {
        $("mix-progress").hidden = true;
        $("mix-progress").removeAttribute("value");
      }
    }
  }

  ready(is) {
    for (const name of ["mix-slider", "mix-play", "mix-gif", "mix-hang"]) $(name).disabled = !is;
  }

  show() {
    const at = Number($("mix-slider").value);
    const percent = Math.round((100 * at) / (FRAMES - 1));
    $("mix-picture").src = this.shown[at];
    $("mix-picture").alt = say("mixAt", { percent });
    $("mix-slider").setAttribute("aria-valuetext", say("mixAt", { percent }));
  }

  /** There and back, until somebody takes the slider. */
  play() {
    let step = 1;
    this.playing = setInterval(() => {
      const slider = $("mix-slider");
      const next = Number(slider.value) + step;
      if (next <= 0 || next >= FRAMES - 1) step = -step;
      slider.value = next;
      this.show();
    }, FRAME_MS);
    $("mix-play").setAttribute("aria-pressed", "true");
  }

  stop() {
    clearInterval(this.playing);
    this.playing = 0;
    $("mix-play").setAttribute("aria-pressed", "false");
  }

  async gif() {
    const found = await this.ask(true);
    if (found) save(found[0].blob, "t2igan_mix.gif");
  }

  fit() {
    fit($("mix-picture"), this.px, roomFor());
  }

  leave() {
    this.stop();
    this.asking?.abort();
    this.images.clear();
  }
}
