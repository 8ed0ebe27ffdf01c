// What each word of a caption does: the same seeds drawn without it, and how much the pictures change.
//
// It is `t2igan explain` with what the Images API has: a counterfactual, which says what a word does here.

import * as api from "./api.js";
import { $, button, make } from "./dom.js";
import { piecesOf } from "./differences.js";
import { Images } from "./images.js";
import { whyNot } from "./notes.js";
import { isPixelArt } from "./runs.js";
import { LARGEST_SEED } from "./state.js";
import { say } from "./strings.js";

const SEEDS = 4; // the picture's own and the next ones: a mean says what a word does, and not what one noise makes of it
const MOST_WORDS = 40;
const COMPARED_PX = 64; // larger pictures are made smaller first
const MOVED = 20; // of 255, mean over the channels, from which a pixel counts as changed

/** Returns a caption without its piece at a place, and without the gap that it leaves. */
export function without(pieces, place) {
  const text = pieces.map((piece, i) => (i === place ? "" : piece.text)).join("");
  return text.replace(/\s+([,.;，。；])/g, "$1").replace(/\s+/g, " ").replace(/^[\s,;，；]+|[\s,;，；]+$/g, "");
}

/** The values of a picture, at `px` or less: Uint8ClampedArray [px * px * 4]. */
async function pixelsOf(blob, px) {
  const bitmap = await createImageBitmap(blob);
  const canvas = make("canvas", { width: px, height: px });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0, px, px);
  bitmap.close();
  return context.getImageData(0, 0, px, px).data;
}

/** By how many levels of 255 each pixel differs, mean over the channels: Float32Array [px * px]. */
export function moved(before, after) {
  const levels = new Float32Array(before.length / 4);
  for (let i = 0; i < levels.length; i++) {
    for (let channel = 0; channel < 3; channel++) levels[i] += Math.abs(before[4 * i + channel] - after[4 * i + channel]) / 3;
  }
  return levels;
}

export class Explanation {
  constructor() {
    Object.assign(this, { images: new Images(), asking: null });
  }

  /** Whether a caption can be taken apart: one with weights or AND is a sum of captions already. */
  suits({ caption }) {
    const words = piecesOf(caption).filter((piece) => piece.word);
    return words.length > 1 && words.length <= MOST_WORDS && !/\(.*:\s*[\d.]+\s*\)|\bAND\b/.test(caption);
  }

  hide() {
    this.asking?.abort();
    this.images.clear();
    $("explained").hidden = true;
    $("explained").replaceChildren();
  }

  /** Draws the caption without each of its words, and shows what changed. */
  async of(picture) {
    this.hide();
    const mine = (this.asking = new AbortController());
    const bar = make("progress", { max: 1, value: 0, label: say("explaining") });
    $("explained").replaceChildren(make("p", { className: "meta" }, say("explaining")), bar);
    $("explained").hidden = false;
    try {
      const found = await this.changes(picture, mine.signal, (share) => (bar.value = share));
      if (mine.signal.aborted) return;
      this.show(picture, found);
      $("explained").scrollIntoView({ block: "nearest" });
    } catch (error) {
      const why = whyNot(error);
      if (why) $("explained").replaceChildren(make("p", { className: "meta" }, why));
    }
  }

  /** Returns the pieces of the caption; those that are words have `share`, `levels` and `blob`, of the first seed. */
  async changes(picture, signal, progress) {
    const first = Math.min(picture.seed, LARGEST_SEED - SEEDS);
    const seeds = [picture.seed, ...Array.from({ length: SEEDS }, (_, i) => first + i).filter((seed) => seed !== picture.seed)].slice(0, SEEDS);
    const px = Math.min(picture.px, COMPARED_PX);
    const draw = async (caption) => {
      const drawn = await api.draw({ ...picture, caption }, seeds, picture.px, signal);
      return { blob: drawn[0].blob, pixels: await Promise.all(drawn.map((one) => pixelsOf(one.blob, px))) };
    };
    const pieces = piecesOf(picture.caption);
    const words = pieces.filter((piece) => piece.word);
    const whole = await draw(picture.caption);
    for (const [i, word] of words.entries()) {
      progress((i + 1) / (words.length + 1));
      const bare = await draw(without(pieces, pieces.indexOf(word)));
      const levels = bare.pixels.map((pixels, k) => moved(whole.pixels[k], pixels));
      const changed = levels.map((one) => one.filter((level) => level >= MOVED).length / one.length);
      Object.assign(word, { px, blob: bare.blob, levels: levels[0], share: changed.reduce((sum, share) => sum + share, 0) / SEEDS });
    }
    return pieces;
  }

  show(picture, pieces) {
    const most = Math.max(...pieces.map((piece) => piece.share ?? 0), 0.01);
    const detail = make("div", { className: "detail" });
    const places = pieces.map((piece) => {
      if (!piece.word) return piece.text;
      const percent = Math.round(100 * piece.share);
      const text = say("explainedWord", { word: piece.text, percent });
      const place = button("word", piece.text, () => {
        $("explained").querySelectorAll(".word").forEach((one) => one.setAttribute("aria-pressed", String(one === place)));
        this.detail(detail, picture, piece);
      }, { label: text, title: text });
      place.append(make("small", {}, `${percent} %`)); // how full the mark is says the same by colour
      place.style.setProperty("--share", (piece.share / most).toFixed(3));
      place.setAttribute("aria-pressed", "false");
      return place;
    });
    $("explained").replaceChildren(make("p", { className: "meta" }, say("explainedNote", { num: SEEDS })), make("p", { className: "weighed" }, ...places), detail);
    const strongest = pieces.findIndex((piece) => piece.share === most);
    if (strongest >= 0) places[strongest].click();
  }

  /** With the word, without it, and where the two differ. */
  detail(place, picture, word) {
    const image = (blob, text) => make("figure", {}, this.images.of({ blob, px: picture.px }, text), make("figcaption", {}, text));
    const map = make("canvas", { width: word.px, height: word.px, className: isPixelArt(picture.px) ? "sharp" : "" });
    map.setAttribute("role", "img");
    map.setAttribute("aria-label", say("where"));
    const data = new ImageData(word.px, word.px);
    word.levels.forEach((level, i) => data.data.set([214, 72, 110, Math.min(255, 4 * level)], 4 * i));
    map.getContext("2d").putImageData(data, 0, 0);
    place.replaceChildren(
      image(picture.blob, say("with", { word: word.text })),
      image(word.blob, say("without", { word: word.text })),
      make("figure", {}, map, make("figcaption", {}, say("where"))),
    );
  }
}
