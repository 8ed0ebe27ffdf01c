// The studio: its parts, and how they hang together. The server only draws; everything else is in this browser.

import * as api from "./api.js";
import { $, button, closable } from "./dom.js";
import { downloadAll } from "./downloads.js";
import { Drawing } from "./drawing.js";
import { Files } from "./files.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { Mixer } from "./mixer.js";
import { notify, toast } from "./notes.js";
import { Painter } from "./painter.js";
import { fromLink, linkOf, picturesOf, settingsOf } from "./runs.js";
import { Shelf } from "./shelf.js";
import { about, isEditable, modelNamed, modelOf, models, newId, NUMBERS, randomSeed, readModels, settings } from "./state.js";
import * as store from "./store.js";
import { languageNow, say, speak } from "./strings.js";
import { Viewer } from "./viewer.js";
import { Dragging, Wall } from "./wall.js";

let favourites = new Set(); // their names
let picking = null; // the picture that waits for another to be mixed with

const drag = new Dragging(mix);
const wall = new Wall({ open: openOrMix, isFavourite: (id) => favourites.has(id), drag });
const drawing = new Drawing(wall, { made: (run) => form.set({ caption: run.caption }), kept: () => shelf.showHistory() });
const form = new Form({
  draw: () => drawing.draw(),
  soon: () => drawing.soon(),
  submit: async () => {
    await drawing.draw();
    if (wall.run && !wall.run.made) await drawing.keep(wall.run);
  },
});
const painter = new Painter((...wanted) => drawing.complete(...wanted));
const mixer = new Mixer((...found) => drawing.between(...found));
const viewer = new Viewer({
  similar,
  vary: (picture) => drawing.vary(picture),
  edit: (picture, caption) => drawing.edit(picture, caption),
  shows,
  mix: pick,
  brush: (picture) => painter.open(picture),
  isFavourite: (id) => favourites.has(id),
  favour: async (picture) => {
    if (favourites.has(picture.id)) await store.remove("favourites", picture.id);
    else await store.put("favourites", { ...picture, time: Date.now() });
    await readFavourites();
  },
});
const shelf = new Shelf({ restore: bringBack, open: openOrMix, zip: downloadAll, drag });
const gallery = new Gallery({
  choose: change,
  word: (model, word) =>
    button("", word, async () => {
      gallery.dialog.close();
      if (model !== settings.model) await form.choose(model);
      form.suggestions.put(word);
    }),
});
new Files({ restore, take, isDragging: () => Boolean(drag.picture) });

// ---- models, and what links, files and the history bring back

/** Chooses a model and draws the caption with it; with an example of its own where another model's stood. */
async function change(model) {
  const example = !settings.caption.trim() || about()?.examples.includes(settings.caption);
  if (!(await chosen(model, () => change(model)))) return;
  if (example && form.example) form.set({ caption: form.example });
  await drawing.draw();
}

/** Whether a model could be chosen; where not, it is said why, and `again` is called when that may help. */
async function chosen(model, again) {
  try {
    await form.choose(model);
    return true;
  } catch (error) {
    drawing.refused(error, again);
    return false;
  }
}

/** Draws what a link says, with the model that it names where that is here. */
async function follow(linked, otherwise) {
  const model = modelNamed(linked.model) ? linked.model : otherwise;
  if (!(await chosen(model, () => follow(linked, otherwise)))) return;
  form.set({ ...linked, model, guidance: about().t2igan.guidance ? linked.guidance : 1 });
  await drawing.draw();
}

/** Draws more with the settings of a picture, or of what is said of one. */
async function similar(picture) {
  const model = modelNamed(picture.model) ? picture.model : settings.model;
  if (!(await chosen(model, () => similar(picture)))) return;
  form.set({ ...settingsOf(picture), model, seed: picture.made ? settings.seed : picture.seed });
  await drawing.draw();
}

/** Takes over the settings of a picture by its recipe. */
async function restore(recipe, caption, seed) {
  const model = modelOf(recipe.model);
  if (model && !(await chosen(model.id, () => restore(recipe, caption, seed)))) return;
  const nearest = (num) => NUMBERS.reduce((best, one) => (Math.abs(one - num) < Math.abs(best - num) ? one : best));
  const num = recipe.seeds ? nearest(recipe.seeds.length) : settings.num;
  const guidance = about().t2igan.guidance ? Number(recipe.guidance ?? 1) : 1;
  form.set({ caption, seed, num, variety: Number(recipe.truncation ?? 1), guidance });
  await drawing.draw();
  toast(say(model ? "restored" : "otherModel"));
}

/** Hangs a run of the history as it was. */
async function bringBack(run) {
  drawing.giveUp();
  notify("");
  wall.show(run);
  const model = modelNamed(run.model) ? run.model : settings.model;
  const own = run.made ? {} : { seed: run.seed, num: run.num };
  form.set({ ...settingsOf(run), model, caption: run.caption || settings.caption, ...own });
  if (!run.made) history.replaceState(null, "", linkOf(run));
  scrollTo({ top: 0 });
  await chosen(model, () => form.choose(model));
}

// ---- pictures of the user's own

async function take({ blob, px }, caption) {
  drawing.giveUp();
  const { digest } = about().t2igan;
  const plain = { seed: 0, num: 1, variety: 1, guidance: 1, pictures: [{ seed: 0, blob }] };
  const run = { ...settings, ...plain, id: newId(), time: Date.now(), made: "given", digest, px, caption };
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  wall.show(run);
  await drawing.keep(run);
  viewer.open(picturesOf(run), 0);
}

/** The user, or the model, says what a picture of the user's shows. */
async function shows(picture, caption) {
  for (const run of await store.all("runs")) {
    if (run.made !== "given" || picture.id !== picturesOf(run)[0].id) continue;
    await store.put("runs", { ...run, caption });
    if (wall.run?.id === run.id) wall.show({ ...wall.run, caption });
    shelf.showHistory();
  }
  if (!favourites.has(picture.id)) return;
  await store.put("favourites", { ...picture, caption });
  await readFavourites();
}

// ---- mixing

/** Waits for the picture that this one is to be mixed with; null ends it. */
function pick(picture) {
  picking = picture;
  $("picking").hidden = !picture;
  document.body.classList.toggle("is-picking", Boolean(picture));
  if (picture) $("picking-cancel").focus();
}

function mix(one, other) {
  pick(null);
  // A picture of the user's is no model's own: it goes to that of the other picture.
  const as = (mine, its) => (mine.made === "given" ? { ...mine, model: its.model, digest: its.digest } : mine);
  const [first, second] = [as(one, other), as(other, one)];
  if (first.digest !== second.digest || !isEditable(first)) toast(say("mixModels"));
  else mixer.open(first, second);
}

function openOrMix(pictures, i) {
  if (!picking) viewer.open(pictures, i);
  else if (picking.id === pictures[i].id) toast(say("pickAnother"));
  else mix(picking, pictures[i]);
}

$("picking-cancel").addEventListener("click", () => pick(null));

// ---- what stands around it

async function readFavourites() {
  const found = await shelf.showFavourites();
  favourites = new Set(found.map((one) => one.id));
  wall.mark();
}

$("share").addEventListener("click", async () => {
  history.replaceState(null, "", linkOf(wall.run));
  try {
    await navigator.clipboard.writeText(location.href);
    toast(say("shared"));
  } catch {
    toast(say("shareFailed"));
  }
});
$("zip").addEventListener("click", () => downloadAll(picturesOf(wall.run)));
closable($("keys"), $("keys-close"));
$("keys-open").addEventListener("click", () => $("keys").showModal());
$("language").addEventListener("click", () => {
  localStorage.setItem("t2igan.language", languageNow() === "en" ? "zh" : "en");
  address();
});
$("theme").addEventListener("click", () => {
  const order = ["", "light", "dark"];
  const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
  localStorage.setItem("t2igan.theme", next);
  wear(next);
  toast(say(`theme_${next || "system"}`));
});
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && picking) return pick(null);
  const typing = /INPUT|TEXTAREA|SELECT/.test(document.activeElement?.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") $("caption").focus();
  else if (event.key === "r") $("dice").click();
  else if (event.key === "?") $("keys").showModal();
  else return;
  event.preventDefault();
});

function wear(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** Puts the language of the user on the page. */
function address() {
  speak(localStorage.getItem("t2igan.language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  $("language-mark").textContent = languageNow() === "en" ? "中" : "En";
  form.address();
  wall.show(wall.run, settings.num);
  shelf.showHistory();
  shelf.showFavourites();
}

$("key-form").addEventListener("submit", () => {
  api.keepKey($("key").value.trim());
  start();
});

async function start() {
  try {
    await readModels();
  } catch (error) {
    return drawing.refused(error, start);
  }
  notify("");
  const saved = localStorage.getItem("t2igan.model");
  const usual = modelNamed(saved) ? saved : models()[0].id;
  const linked = fromLink(location.hash, NUMBERS);
  if (linked) await follow(linked, usual);
  else if (await chosen(usual, start)) {
    if (!settings.caption) form.set({ caption: form.example, seed: randomSeed() });
    await drawing.draw();
  }
}

wear(localStorage.getItem("t2igan.theme"));
address();
readFavourites();
addEventListener("hashchange", () => {
  const linked = fromLink(location.hash, NUMBERS);
  if (linked) follow(linked, settings.model);
});
start();
