// What is to be drawn anew of a picture, one value a pixel, with undo and redo.

const MOST_STEPS = 100; // that can be taken back,
const MOST_BYTES = 2 ** 25; // and what they may take together

export class Mask {
  constructor(px) {
    Object.assign(this, { px, cells: new Uint8Array(px * px), past: [], future: [] });
  }

  get isEmpty() {
    return !this.cells.includes(1);
  }

  /** How much of the picture is hidden, from 0 to 1. */
  get share() {
    return this.cells.reduce((sum, cell) => sum + cell, 0) / this.cells.length;
  }

  /** Begins something that undo takes back as a whole, such as a stroke. */
  begin() {
    this.past.push(this.cells.slice());
    if (this.past.length > Math.min(MOST_STEPS, MOST_BYTES / this.cells.length)) this.past.shift();
    this.future = [];
  }

  undo() {
    this.#go(this.past, this.future);
  }

  redo() {
    this.#go(this.future, this.past);
  }

  #go(from, to) {
    if (!from.length) return;
    to.push(this.cells);
    this.cells = from.pop();
  }

  fill(value) {
    this.begin();
    this.cells.fill(value);
  }

  invert() {
    this.begin();
    this.cells = this.cells.map((cell) => 1 - cell);
  }

  /** Puts a round brush of so many pixels across on a pixel; up to 3 pixels it is square. */
  dab(x, y, size, value) {
    const from = -Math.floor((size - 1) / 2);
    const middle = from + (size - 1) / 2;
    for (let dy = from; dy < from + size; dy++) {
      for (let dx = from; dx < from + size; dx++) {
        const round = size <= 3 || Math.hypot(dx - middle, dy - middle) <= size / 2;
        const [column, row] = [x + dx, y + dy];
        if (round && column >= 0 && row >= 0 && column < this.px && row < this.px) this.cells[row * this.px + column] = value;
      }
    }
  }

  /** A stroke from one pixel to another, without gaps. */
  line(from, to, size, value) {
    const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
    for (let i = 0; i <= steps; i++) {
      this.dab(Math.round(from.x + ((to.x - from.x) * i) / steps), Math.round(from.y + ((to.y - from.y) * i) / steps), size, value);
    }
  }

  /** Returns a canvas of the mask, one pixel a value: `ink` where it hides, else `rest`; [red, green, blue, alpha]. */
  canvas(ink, rest) {
    const canvas = Object.assign(document.createElement("canvas"), { width: this.px, height: this.px });
    const data = new ImageData(this.px, this.px);
    this.cells.forEach((cell, i) => data.data.set(cell ? ink : rest, 4 * i));
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  /** Returns the mask as a PNG, as `/v1/images/edits` reads it: what is transparent is drawn anew. */
  png() {
    return new Promise((resolve) => this.canvas([0, 0, 0, 0], [0, 0, 0, 255]).toBlob(resolve, "image/png"));
  }
}
