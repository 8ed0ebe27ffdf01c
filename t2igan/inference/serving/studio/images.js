// Pictures at hand as elements of the page; their addresses are let go together.

import { make } from "./dom.js";
import { isPixelArt, isSharp } from "./runs.js";

export class Images {
  #urls = [];

  url(blob) {
    this.#urls.push(URL.createObjectURL(blob));
    return this.#urls.at(-1);
  }

  /** Puts a picture of `px` pixels into an element; small ones are shown with sharp pixels. */
  put(element, { blob, px }, alt = "", sharp = isSharp(px)) {
    Object.assign(element, { src: this.url(blob), alt });
    element.classList.toggle("sharp", sharp);
    return element;
  }

  /** A small one, of which only pixel art has sharp pixels. */
  of(picture, alt) {
    return this.put(make("img", { draggable: false }), picture, alt, isPixelArt(picture.px));
  }

  clear() {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = [];
  }
}
