// The wall: the pictures of one run. One is dropped on another to mix the two.

import { $, button, make } from "./dom.js";
import { marked } from "./differences.js";
import { Images } from "./images.js";
import { pictureId, picturesOf } from "./runs.js";
import { say } from "./strings.js";

export class Wall {
  /** `actions`: open(pictures, which), isFavourite(id), drag (a `Dragging`). */
  constructor(actions) {
    Object.assign(this, { actions, run: null, images: new Images() });
    $("wall").addEventListener("keydown", (event) => this.walk(event));
  }

  /** Hangs a run, or so many empty places. */
  show(run, places = 0) {
    this.images.clear();
    this.run = run;
    $("wall").dataset.num = run ? run.pictures.length : places;
    const tiles = run ? picturesOf(run).map((picture, i, all) => this.tile(picture, i, all)) : [];
    $("wall").replaceChildren(...tiles, ...Array.from({ length: run ? 0 : places }, () => make("li", { className: "empty" })));
    $("share").disabled = !run || Boolean(run.made);
    $("zip").disabled = !run;
    this.title();
  }

  tile(picture, i, all) {
    const place = button("", this.images.of(picture, nameOf(picture)), () => this.actions.open(all, i));
    place.classList.toggle("kept", this.actions.isFavourite(picture.id));
    this.actions.drag.both(place, picture);
    return make("li", {}, place);
  }

  /** What hangs here, and what it was made of. */
  title() {
    const { run } = this;
    $("wall-title").textContent = say(run?.made ? `made_${run.made}` : "pictures");
    const from = run?.from;
    $("wall-note").hidden = !from;
    if (!from) return;
    const before = from.map((one) => this.images.of(one, say("before", one)));
    const text = run.made === "edit" ? marked(from[0].caption, run.caption) : [[...new Set(from.map((one) => one.caption || say("yours")))].join(" → ")];
    $("wall-note").replaceChildren(make("span", { className: "befores" }, ...before), make("p", { className: "diff" }, ...text));
  }

  mark() {
    this.run?.pictures.forEach((picture, i) => {
      const kept = this.actions.isFavourite(pictureId(this.run, picture.seed));
      $("wall").children[i]?.firstChild.classList.toggle("kept", kept);
    });
  }

  /** Goes to the first picture. */
  focus() {
    $("wall").querySelector("button")?.focus({ preventScroll: true });
  }

  /** Arrow keys go from picture to picture. */
  walk(event) {
    const places = [...$("wall").querySelectorAll("button")];
    const columns = getComputedStyle($("wall")).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const next = step && places[places.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

/** What a picture is called where a press enlarges it. */
export function nameOf(picture) {
  return say(picture.made ? "openMade" : "open", { ...picture, caption: picture.caption || say("yours") });
}

/** Pictures that are dragged onto others. */
export class Dragging {
  /** `dropped` gets the picture that was dragged and the one that it was dropped on. */
  constructor(dropped) {
    Object.assign(this, { dropped, picture: null });
  }

  /** Lets an element be dragged and be dropped on. */
  both(element, picture) {
    element.draggable = true;
    element.addEventListener("dragstart", (event) => {
      this.picture = picture;
      event.dataTransfer.effectAllowed = "link";
      event.dataTransfer.setData("text/plain", picture.caption); // some browsers drag nothing without
      event.dataTransfer.setDragImage(element.firstChild, 24, 24);
    });
    element.addEventListener("dragend", () => (this.picture = null));
    for (const kind of ["dragenter", "dragover"]) {
      element.addEventListener(kind, (event) => {
        if (!this.picture || this.picture.id === picture.id) return;
        event.preventDefault();
        event.dataTransfer.dropEffect = "link";
        element.classList.add("over");
      });
    }
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      element.classList.remove("over");
      const dragged = this.picture;
      if (!dragged || dragged.id === picture.id) return;
      event.preventDefault();
      event.stopPropagation(); // it is no file
      this.picture = null;
      this.dropped(dragged, picture);
    });
  }
}
