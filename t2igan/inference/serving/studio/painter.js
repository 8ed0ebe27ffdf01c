// The brush: what it covers of a picture is drawn anew. By mouse, finger, pen and keys.

import { $, closable } from "./dom.js";
import { Images } from "./images.js";
import { Mask } from "./mask.js";
import { modelOf } from "./state.js";
import { say } from "./strings.js";
import { fit, roomFor } from "./viewer.js";

const INK = [214, 72, 110, 150];
const BRUSHES = 8; // sizes on the slider, up to half the picture

export class Painter {
  /** `complete` gets the picture, the mask as a PNG, the caption, and how many versions. */
  constructor(complete) {
    Object.assign(this, { complete, masks: new WeakMap(), picture: null, mask: null, at: { x: 0, y: 0 }, erases: false, stroke: null, images: new Images() });
    this.dialog = $("painter");
    this.canvas = $("painter-canvas");
    closable(this.dialog, $("painter-close"));
    this.dialog.addEventListener("close", () => this.images.clear());
    this.dialog.addEventListener("keydown", (event) => this.command(event));
    this.canvas.addEventListener("keydown", (event) => this.walk(event));
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => this.end());
    this.canvas.addEventListener("pointerleave", () => this.stroke || this.hideBrush());
    this.canvas.addEventListener("focus", () => this.showBrush());
    this.canvas.addEventListener("blur", () => this.hideBrush());
    $("brush-size").addEventListener("input", () => this.showBrush());
    for (const name of ["undo", "redo"]) {
      $(name).addEventListener("click", () => {
        this.mask[name]();
        this.draw();
      });
    }
    $("mask-clear").addEventListener("click", () => this.change(() => this.mask.fill(0)));
    $("mask-invert").addEventListener("click", () => this.change(() => this.mask.invert()));
    $("eraser").addEventListener("click", () => this.erase(!this.erases));
    $("complete").addEventListener("submit", (event) => this.submit(event));
    addEventListener("resize", () => this.dialog.open && this.fit());
  }

  /** Opens it with a picture; what was brushed of it before is still there. */
  open(picture) {
    this.picture = picture;
    const px = modelOf(picture.digest).t2igan.native_px;
    if (!this.masks.has(picture.blob)) this.masks.set(picture.blob, new Mask(px));
    this.mask = this.masks.get(picture.blob);
    this.at = { x: px >> 1, y: px >> 1 };
    this.images.clear();
    this.images.put($("painter-picture"), picture);
    $("painter-caption").value = picture.caption;
    $("painter-note").textContent = "";
    Object.assign($("brush-size"), { max: BRUSHES, value: 3 });
    this.erase(false);
    this.dialog.showModal();
    this.fit();
    this.canvas.focus();
    this.hideBrush();
  }

  /** How many pixels the brush is across: from 1 to half the picture, in even proportions. */
  get size() {
    const step = (Number($("brush-size").value) - 1) / (BRUSHES - 1);
    return Math.max(Math.round((this.mask.px / 2) ** step), Number($("brush-size").value) > 1 ? 2 : 1);
  }

  fit() {
    const { px } = this.mask;
    this.shown = fit($("painter-stage"), px, roomFor(8));
    const scale = devicePixelRatio;
    Object.assign(this.canvas, { width: Math.round(this.shown * scale), height: Math.round(this.shown * scale) });
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.mask.canvas(INK, [0, 0, 0, 0]), 0, 0, width, height);
    this.hatch(context, width, height);
    $("undo").disabled = !this.mask.past.length;
    $("redo").disabled = !this.mask.future.length;
    $("mask-clear").disabled = $("complete-go").disabled = this.mask.isEmpty;
    $("mask-share").textContent = this.mask.isEmpty ? say("maskEmpty") : say("maskShare", { percent: Math.max(Math.round(100 * this.mask.share), 1) });
  }

  /** Stripes over what is covered, light beside dark, so that they are seen on any colour of a picture. */
  hatch(context, width, height) {
    context.save();
    context.globalCompositeOperation = "source-atop";
    context.lineWidth = 2 * devicePixelRatio;
    for (const [ink, besides] of [["rgb(255 255 255 / 0.7)", 0], ["rgb(0 0 0 / 0.6)", 3]]) {
      context.strokeStyle = ink;
      context.beginPath();
      for (let x = besides * devicePixelRatio - height; x < width; x += 9 * devicePixelRatio) {
        context.moveTo(x, height);
        context.lineTo(x + height, 0);
      }
      context.stroke();
    }
    context.restore();
  }

  change(act) {
    act();
    this.draw();
  }

  erase(erases) {
    this.erases = erases;
    $("eraser").setAttribute("aria-pressed", String(erases));
  }

  // ---- pointers

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const on = (offset, side) => Math.min(Math.max(Math.floor((offset / side) * this.mask.px), 0), this.mask.px - 1);
    return { x: on(event.clientX - box.left, box.width), y: on(event.clientY - box.top, box.height) };
  }

  begin(event) {
    if (event.button > 0 && event.button !== 5) return;
    event.preventDefault();
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke = { value: this.erases || event.button === 5 ? 0 : 1 }; // 5 is the eraser of a pen
    this.mask.begin();
    this.at = this.place(event);
    this.paint(this.at);
  }

  go(event) {
    const to = this.place(event);
    if (this.stroke) this.paint(to);
    this.at = to;
    this.showBrush();
  }

  end() {
    this.stroke = null;
    this.draw();
  }

  paint(to) {
    this.mask.line(this.at, to, this.size, this.stroke.value);
    this.draw();
    this.showBrush();
  }

  // ---- keys

  /** Arrows move the brush, with Shift they paint on the way; Space paints. */
  walk(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const pace = Math.max(Math.floor(this.size / 2), 1);
    const within = (value) => Math.min(Math.max(value, 0), this.mask.px - 1);
    const to = step ? { x: within(this.at.x + pace * step[0]), y: within(this.at.y + pace * step[1]) } : this.at;
    if (!step && event.key !== " ") return;
    event.preventDefault();
    if (event.key === " " || event.shiftKey) {
      this.mask.begin();
      this.mask.line(this.at, to, this.size, this.erases ? 0 : 1);
      this.draw();
    }
    this.at = to;
    this.showBrush();
    $("painter-note").textContent = say("brushAt", { column: to.x + 1, row: to.y + 1 });
  }

  command(event) {
    if (/TEXTAREA|SELECT/.test(event.target.tagName)) return; // which have an undo of their own
    const held = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const slider = $("brush-size");
    if (held && key === "z") $(event.shiftKey ? "redo" : "undo").click();
    else if (held && key === "y") $("redo").click();
    else if (!held && key === "e") this.erase(!this.erases);
    else if (!held && (key === "[" || key === "]")) {
      slider.value = Number(slider.value) + (key === "]" ? 1 : -1);
      this.showBrush();
    } else return;
    event.preventDefault();
  }

  // ---- the brush itself

  showBrush() {
    const one = this.shown / this.mask.px;
    const brush = $("brush-shape");
    const from = Math.floor((this.size - 1) / 2);
    brush.hidden = false;
    brush.style.width = brush.style.height = `${this.size * one}px`;
    brush.style.transform = `translate(${(this.at.x - from) * one}px, ${(this.at.y - from) * one}px)`;
    brush.classList.toggle("round", this.size > 3);
    $("brush-size-value").textContent = say("pixels", { n: this.size });
  }

  hideBrush() {
    $("brush-size-value").textContent = say("pixels", { n: this.size });
    $("brush-shape").hidden = true;
  }

  async submit(event) {
    event.preventDefault();
    const caption = $("painter-caption").value.trim();
    if (!caption) return $("painter-caption").focus();
    if (this.mask.isEmpty) return;
    const num = Number($("painter-num").value);
    const mask = await this.mask.png();
    this.dialog.close();
    this.complete(this.picture, mask, caption, num);
  }
}
