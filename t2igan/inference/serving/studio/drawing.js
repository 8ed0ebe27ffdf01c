// What is asked of the server, hung on the wall and kept: one thing at a time, the latest first.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { notify, tell, working } from "./notes.js";
import { keptPx, linkOf, seedsOf, settingsOf } from "./runs.js";
import { about, modelOf, newId, settings } from "./state.js";
import * as store from "./store.js";
import { say } from "./strings.js";

const SHORTEST_WAIT_MS = 60; // from the last key to the request; as long as a drawing takes, where that is longer
const LONGEST_WAIT_MS = 400;
const SETTLED_MS = 1500; // what stays so long goes into the history

export class Drawing {
  /** `actions`: made (a run that was made of pictures hangs), kept (something went into the history). */
  constructor(wall, actions) {
    Object.assign(this, { wall, actions, asking: null, lastMs: 0 });
  }

  soon(ms = Math.min(Math.max(this.lastMs, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.draw(), ms);
  }

  /** What was to be drawn, or drawn again, or kept, is not any more. */
  giveUp() {
    clearTimeout(this.waiting);
    clearTimeout(this.retrying);
    clearTimeout(this.settling);
    this.asking?.abort();
  }

  /** Shows how far it is, and hangs the run that `ask` returns; null where nothing comes. `ask` gets {signal, said}. */
  async hang(text, ask, again) {
    this.giveUp();
    const mine = (this.asking = new AbortController());
    const way = working(text, () => this.giveUp());
    $("wall").setAttribute("aria-busy", "true");
    try {
      const run = await ask({ signal: mine.signal, said: way.said });
      notify("");
      this.wall.show(run);
      return run;
    } catch (error) {
      if (error.name !== "AbortError") this.refused(error, again);
      return null;
    } finally {
      way.end();
      if (this.asking === mine) $("wall").setAttribute("aria-busy", "false");
    }
  }

  /** Draws what the settings say. */
  async draw() {
    if (!settings.caption.trim() || !about()) return this.giveUp();
    notify("", "file");
    const { native_px: px, digest } = about().t2igan;
    if (!this.wall.run) this.wall.show(null, settings.num);
    const wanted = { ...settings, px, digest };
    const begun = performance.now();
    const ask = async ({ signal }) => {
      const pictures = await api.draw(wanted, seedsOf(wanted), px, signal);
      return { ...wanted, id: newId(), time: Date.now(), pictures };
    };
    const run = await this.hang(say("drawing"), ask, () => this.draw());
    if (!run) return;
    this.lastMs = performance.now() - begun;
    tell(say("drawn", { num: run.num, caption: run.caption }));
    history.replaceState(null, "", linkOf(run));
    this.settling = setTimeout(() => this.keep(run), SETTLED_MS);
  }

  vary(picture) {
    return this.remake("vary", picture, picture.caption, (px, how) => api.vary(picture, { num: settings.num, strength: 0.5, px }, how));
  }

  edit(picture, caption) {
    return this.remake("edit", picture, caption, (px, how) => api.edit(picture, { caption, px }, how));
  }

  complete(picture, mask, caption, num) {
    return this.remake("complete", picture, caption, (px, how) => api.complete(picture, { mask, caption, num, px }, how));
  }

  /** Hangs what `work` makes of a picture: variations, or another caption's, or one with something drawn anew. */
  async remake(made, picture, caption, work) {
    const px = modelOf(picture.digest).t2igan.native_px;
    const ask = async (how) => ({ ...this.madeOf(made, [picture], await work(keptPx(px), how)), caption, px });
    const run = await this.hang(say(`working_${made}`), ask, () => this.remake(made, picture, caption, work));
    if (!run) return;
    tell(say(`told_${made}`, { num: run.num, caption }));
    this.actions.made(run);
    if (document.activeElement === document.body) this.wall.focus(); // what had been pressed is closed
    await this.keep(run);
  }

  /** Hangs what lies between two pictures. */
  async between(one, other, frames) {
    this.giveUp();
    const run = { ...this.madeOf("mix", [one, other], frames), caption: other.caption, px: modelOf(one.digest).t2igan.native_px };
    this.wall.show(run);
    tell(say("told_mix", run));
    await this.keep(run);
  }

  /** A run of pictures that no seed draws. */
  madeOf(made, from, pictures) {
    const sources = from.map(({ blob, px, caption }) => ({ blob, px, caption }));
    const { digest, seed } = from[0];
    return { ...settingsOf(from[0]), id: newId(), time: Date.now(), made, digest, seed, num: pictures.length, from: sources, pictures };
  }

  /** Says what is wrong, and does it again where that may help. */
  refused(error, again) {
    if (!(error instanceof api.Refusal)) throw error;
    if (error.status === 401) {
      if (!$("key-dialog").open) $("key-dialog").showModal();
    } else if (error.passing) {
      notify(say(error.status ? "busy" : "away"));
      clearTimeout(this.retrying);
      this.retrying = setTimeout(again, 1000 * Math.min(error.retryS, 30));
    } else {
      if (!this.wall.run) this.wall.show(null);
      notify(say("failed", { message: error.message }));
    }
  }

  async keep(run) {
    clearTimeout(this.settling);
    if (run.kept) return;
    run.kept = true;
    await store.put("runs", run);
    this.actions.kept();
  }
}
