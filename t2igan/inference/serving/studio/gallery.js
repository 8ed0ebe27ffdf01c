// The models of the server: what each draws, its card, and the words that it knows.

import * as api from "./api.js";
import { $, button, closable, make } from "./dom.js";
import { rendered } from "./markdown.js";
import { isPixelArt } from "./runs.js";
import { described, models, settings } from "./state.js";
import { say } from "./strings.js";

const SHOWN = 4; // pictures of each
const WORDS = 200;

export class Gallery {
  /** `actions`: choose (a model's name), word (a word: returns a button that uses it). */
  constructor(actions) {
    Object.assign(this, { actions, shown: new Map() }); // addresses of pictures, by digest: a model's do not change
    this.dialog = $("gallery");
    closable(this.dialog, $("gallery-close"));
    $("models").addEventListener("click", () => this.open());
  }

  async open() {
    $("gallery-list").replaceChildren(...models().map((model) => this.entry(model)));
    this.dialog.showModal();
    $("gallery-list").scrollTop = 0;
    for (const model of models()) await this.fill(model);
  }

  entry({ id, t2igan }) {
    const chosen = id === settings.model;
    const facts = say(t2igan.guidance ? "factsGuided" : "facts", { px: t2igan.native_px, tokens: t2igan.max_tokens });
    const use = button(chosen ? "" : "main", say(chosen ? "inUse" : "use"), () => {
      this.dialog.close();
      this.actions.choose(id);
    }, { disabled: chosen, label: `${say(chosen ? "inUse" : "use")}: ${id}` });
    const strip = make("div", { className: "strip" }, ...Array.from({ length: SHOWN }, () => make("span", { className: "empty" })));
    const more = make("details", {}, make("summary", {}, say("card")), make("div", { className: "prose" }));
    const head = make("div", { className: "entry-head" }, make("h3", {}, id), use);
    const entry = make("li", { className: chosen ? "entry chosen" : "entry" }, head, make("p", { className: "meta" }, facts), strip, more);
    entry.dataset.model = id;
    return entry;
  }

  /** Fills an entry in: pictures of its example captions, and its card. */
  async fill(model) {
    let about;
    try {
      about = await described(model.id);
    } catch (error) {
      if (!(error instanceof api.Refusal)) throw error;
      return this.fillNothing(model);
    }
    const entry = this.find(model);
    if (!entry) return; // closed, or opened anew
    entry.querySelector(".prose").replaceChildren(...this.card(about));
    const pictures = await this.pictures(about).catch(() => []);
    const captions = this.captions(about);
    this.find(model)?.querySelector(".strip").replaceChildren(
      ...pictures.map((src, i) => make("img", { src, alt: captions[i], title: captions[i], className: isPixelArt(about.t2igan.native_px) ? "sharp" : "" })),
    );
  }

  fillNothing(model) {
    this.find(model)?.querySelector(".prose").replaceChildren(make("p", {}, say("awayShort")));
    this.find(model)?.querySelector(".strip").replaceChildren();
  }

  find(model) {
    return [...$("gallery-list").children].find((entry) => entry.dataset.model === model.id);
  }

  captions({ examples }) {
    return examples.length ? Array.from({ length: SHOWN }, (_, i) => examples[i % examples.length]) : [];
  }

  async pictures(about) {
    const { digest, native_px } = about.t2igan;
    if (!this.shown.has(digest)) {
      const drawn = [];
      for (const [seed, caption] of this.captions(about).entries()) {
        drawn.push(...(await api.draw({ model: about.id, caption, variety: 1, guidance: 1 }, [seed], native_px)));
      }
      this.shown.set(digest, drawn.map((one) => URL.createObjectURL(one.blob)));
    }
    return this.shown.get(digest);
  }

  card(about) {
    const frequent = about.vocabulary.words.slice(0, WORDS).sort((a, b) => a.localeCompare(b));
    const words = frequent.map((word) => this.actions.word(about.id, word));
    const cloud = words.length ? [make("h4", {}, say("wordsKnown")), make("div", { className: "cloud" }, ...words)] : [];
    const digest = make("p", { className: "meta" }, say("weights", { digest: about.t2igan.digest }));
    return [...(about.card ? rendered(about.card) : [make("p", {}, say("noCard"))]), ...cloud, digest];
  }
}
