// Words that the model knows, while a caption is typed; and a gentle word about those that it does not know.

import * as api from "./api.js";
import { button, make } from "./dom.js";
import { listed, say } from "./strings.js";

const MOST = 8;
const FREQUENT = 64; // of the words, which come the most frequent first, that are offered unasked

export class Suggestions {
  /** Offers chips that change the text of `field`; `changed` is told of the new caption. */
  constructor(field, chips, note, changed) {
    Object.assign(this, { field, chips, note, changed, about: null });
    this.shown = "";
    this.following = { before: "", words: [] }; // what the server said of the words that follow a text
    this.answered = ""; // for which texts it did
    field.addEventListener("blur", () => this.about && this.look()); // the last word is whole now
  }

  of(about) {
    this.about = about;
    this.following = { before: "", words: [] };
    this.answered = "";
    this.update();
  }

  update() {
    if (!this.about) return;
    const { before, begun, completions } = this.typed();
    const after = this.following.before === before ? this.following.words : [];
    const likely = completions.filter((word) => after.includes(word));
    const words = [...likely, ...completions.filter((word) => !likely.includes(word))].slice(0, MOST);
    const chips = begun && words.length ? words.map((word) => this.word(word)) : this.ideas(after);
    const key = chips.map((chip) => chip.textContent).join("\n");
    if (key !== this.shown) this.chips.replaceChildren(...chips);
    this.shown = key;
    this.look();
  }

  /** The word that is being typed, if there are words that go on with it, these, and the text before it. */
  typed() {
    const text = this.field.value.slice(0, this.field.selectionStart ?? this.field.value.length);
    const begun = /[\p{L}'’-]+$/u.exec(text)?.[0].toLowerCase() ?? "";
    const completions = begun ? this.about.vocabulary.words.filter((word) => word.startsWith(begun) && word !== begun) : [];
    const whole = completions.length === 0;
    return { begun: whole ? "" : begun, completions, before: (whole ? text : text.slice(0, text.length - begun.length)).trim() };
  }

  /** Another caption in the manner of the training's, and words to go on with, first those that are known to follow. */
  ideas(after) {
    const caption = this.field.value.trim();
    const others = this.about.examples.filter((one) => one !== caption);
    const said = new Set([...(caption.toLowerCase().match(/[\p{L}'’-]+/gu) ?? []), ...after]);
    const rest = this.about.vocabulary.words.filter((word) => word.length > 2 && !said.has(word));
    const most = others.length ? MOST - 1 : MOST;
    const likely = after.slice(0, most);
    const chips = [...likely, ...spread(rest.slice(0, FREQUENT), most - likely.length)].map((word) => this.word(word));
    return others.length ? [this.another(others), ...chips] : chips;
  }

  /** A chip that puts another example caption in place of the caption. */
  another(others) {
    const mark = chip(say("example"), () => this.changed(others[Math.floor(Math.random() * others.length)]));
    mark.classList.add("example");
    return mark;
  }

  word(word) {
    return chip(word, () => this.put(word));
  }

  /** Puts a word in place of the one that is being typed, or behind the caption. */
  put(word) {
    const at = this.field.selectionStart ?? this.field.value.length;
    const before = this.field.value.slice(0, at);
    const begun = /[\p{L}'’-]*$/u.exec(before)[0];
    const completes = begun && word.startsWith(begun.toLowerCase());
    const head = completes ? before.slice(0, before.length - begun.length) : before.replace(/(\S)$/, "$1 ");
    const caption = head + word + this.field.value.slice(at);
    this.changed(caption);
    this.field.focus();
    this.field.setSelectionRange(head.length + word.length, head.length + word.length);
    this.update();
  }

  /** Asks which words are new to the model, and says so, and which could follow; the word being typed is left alone. */
  async look() {
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    const typed = document.activeElement === this.field ? this.field.value.replace(/[\p{L}'’-]+$/u, "") : this.field.value;
    const { before } = this.typed();
    const texts = JSON.stringify([typed, before]);
    if (texts === this.answered) return;
    this.answered = "";
    if (!typed.trim()) this.tell("");
    if (!typed.trim() && !before) return;
    try {
      await new Promise((resolve) => setTimeout(resolve, 350));
      if (mine.signal.aborted) return;
      const { unseen, certain, following } = await api.words(this.about.id, typed, before, mine.signal);
      this.tell(unseen.length ? say(certain ? "unseen" : "rare", { words: listed(unseen) }) : "");
      this.following = { before, words: following };
      this.answered = texts;
      this.update();
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof api.Refusal)) throw error; // drawing says what is wrong
    }
  }

  tell(text) {
    if (this.note.textContent !== text) this.note.textContent = text;
  }
}

function chip(text, act) {
  return button("", make("span", {}, text), act, { title: text });
}

/** So many of a list at most, from all over it. */
function spread(words, most) {
  const num = Math.min(most, words.length);
  return Array.from({ length: num }, (_, i) => words[Math.floor((i * words.length) / num)]);
}
