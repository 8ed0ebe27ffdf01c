// Pictures as files: one in a size of choice, or many in a zip.

import * as api from "./api.js";
import { about } from "./state.js";
import { zip } from "./zip.js";

/** Has the browser save a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Draws pictures of the same settings as files of `px` (0 = as the server sees fit); those at hand where that fails. */
async function drawn(pictures, px) {
  const most = about()?.limits.images ?? 16;
  const found = [];
  try {
    for (let from = 0; from < pictures.length; from += most) {
      const piece = pictures.slice(from, from + most);
      found.push(...(await api.draw(piece[0], piece.map((picture) => picture.seed), px)));
    }
  } catch (error) {
    if (!(error instanceof api.Refusal)) throw error; // the server is away, or the model: the pictures are here as drawn
    return pictures;
  }
  return found;
}

/** Saves a picture as a PNG with its recipe. */
export async function download(picture, px) {
  const [{ blob }] = picture.made ? [picture] : await drawn([picture], px);
  save(blob, `t2igan_${picture.made ?? "seed"}${picture.seed}.png`);
}

/** Saves pictures as a zip, in their order. */
export async function downloadAll(pictures) {
  const groups = new Map();
  for (const picture of pictures) groups.set(keyOf(picture), [...(groups.get(keyOf(picture)) ?? []), picture]);
  const blobs = new Map();
  for (const group of groups.values()) {
    const found = group[0].made ? group : await drawn(group, 0);
    group.forEach((picture, i) => blobs.set(picture, found[i].blob));
  }
  const name = (picture, i) => `${String(i).padStart(5, "0")}_${picture.made ?? "seed"}${picture.seed}.png`;
  save(await zip(pictures.map((picture, i) => ({ name: name(picture, i), blob: blobs.get(picture) }))), "t2igan.zip");
}

const keyOf = ({ made, id, model, caption, variety, guidance }) => JSON.stringify(made ? [made, id] : [model, caption, variety, guidance]);
