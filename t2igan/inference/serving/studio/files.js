// Files that come in: dropped, pasted or chosen. A picture of the studio brings its settings back; any other comes in to be
// described and changed.

import { $ } from "./dom.js";
import { notify } from "./notes.js";
import { recipeOf } from "./png.js";
import { about } from "./state.js";
import { say } from "./strings.js";

const LARGEST_PX = 1024; // of what is sent and kept

/** Returns {blob, px}: the middle square of a picture as a PNG; null where the file is no picture. */
export async function square(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  const side = Math.min(bitmap.width, bitmap.height);
  const px = Math.min(side, LARGEST_PX);
  if (bitmap.width === bitmap.height && side === px && file.type === "image/png") return { blob: file, px };
  const canvas = Object.assign(document.createElement("canvas"), { width: px, height: px });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, px, px);
  bitmap.close();
  return { blob: await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), px };
}

export class Files {
  /** `actions`: restore (a recipe, its caption, its seed), take ({blob, px}, what it shows), isDragging (a picture of the page). */
  constructor(actions) {
    this.actions = actions;
    for (const kind of ["dragenter", "dragover"]) {
      addEventListener(kind, (event) => {
        if (actions.isDragging() || ![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
        event.preventDefault();
        $("drop").hidden = false;
      });
    }
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) $("drop").hidden = true;
    });
    addEventListener("drop", async (event) => {
      event.preventDefault();
      $("drop").hidden = true;
      const file = event.dataTransfer?.files?.[0];
      if (file && !actions.isDragging()) await this.receive(file);
    });
    addEventListener("paste", async (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (file) await this.receive(file);
    });
    $("open").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", async () => {
      const [file] = $("file").files;
      if (file) await this.receive(file);
      $("file").value = ""; // so that the same file can be opened again
    });
  }

  async receive(file) {
    notify("", "file");
    if (!about()) return notify(say("away"), "file"); // no model to do anything with it
    const recipe = await recipeOf(file);
    const text = recipe?.prompt ?? recipe?.prompts?.[0] ?? recipe?.caption;
    const caption = typeof text === "string" ? text : "";
    const seed = recipe?.seed ?? recipe?.seeds?.[0];
    if (caption && Number.isInteger(seed) && !recipe.verb) return this.actions.restore(recipe, caption, seed);
    const found = await square(file);
    if (!found) return notify(say("noPicture"), "file");
    if ($("open").hidden) return notify(say("noRecipe"), "file"); // the model can do nothing with it
    await this.actions.take(found, caption);
  }
}
