// The studio: what is drawn, kept and shown. The server only draws; everything else is in this browser.

import * as api from "./api.js";
import { rendered } from "./markdown.js";
import { recipeOf } from "./png.js";
import { Shelf } from "./shelf.js";
import * as store from "./store.js";
import { languageNow, say, speak } from "./strings.js";
import { Suggestions } from "./suggestions.js";
import { Viewer, isSharp, save } from "./viewer.js";
import { zip } from "./zip.js";

const DEBOUNCE_MS = 220;
const SETTLED_MS = 1500; // what stays so long goes into the history
const NUMBERS = [1, 4, 8, 12, 16];
const $ = (id) => document.getElementById(id);

const known = { models: [], about: new Map() }; // summaries, and descriptions by model
const settings = { model: "", caption: "", seed: 0, num: 8, variety: 1, guidance: 1 };
let wall = null; // the run that is shown
let urls = []; // of its pictures
let asking = null; // AbortController of the request under way
let favourites = new Set();
let waiting, settling, retrying;

const about = () => known.about.get(settings.model);
const nativePx = () => about()?.t2igan.native_px ?? 0;
const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % 4294967000;
const seedsOf = (run) => Array.from({ length: run.num }, (_, i) => run.seed + i);

// ---- drawing

function soon(ms = DEBOUNCE_MS) {
  clearTimeout(waiting);
  waiting = setTimeout(draw, ms);
}

/** What was to be drawn, or drawn again, or kept, is not any more. */
function giveUp() {
  clearTimeout(waiting);
  clearTimeout(retrying);
  clearTimeout(settling);
  asking?.abort();
}

async function draw() {
  giveUp();
  if (!settings.caption.trim() || !about()) return;
  notify("", "file");
  const mine = (asking = new AbortController());
  const wanted = { ...settings };
  $("wall").setAttribute("aria-busy", "true");
  if (!wall) show(null, wanted.num);
  try {
    const pictures = await api.draw(wanted, seedsOf(wanted), nativePx(), mine.signal);
    notify("");
    const run = { ...wanted, id: newId(), time: Date.now(), px: nativePx(), digest: about().t2igan.digest, pictures };
    show(run);
    $("spoken").textContent = say("drawn", { num: run.num, caption: run.caption });
    history.replaceState(null, "", linkOf(run));
    settling = setTimeout(() => keep(run), SETTLED_MS);
  } catch (error) {
    if (error.name !== "AbortError") refused(error, draw);
  } finally {
    if (asking === mine) $("wall").setAttribute("aria-busy", "false");
  }
}

/** Hangs what was made of a picture on the wall: variations, or the picture with another caption. */
async function remake(picture, made, how) {
  giveUp();
  const mine = (asking = new AbortController());
  const caption = how.prompt ?? picture.caption;
  $("wall").setAttribute("aria-busy", "true");
  notify(say("working"));
  try {
    const pictures = await api.remake(picture, how, mine.signal);
    notify("");
    set({ caption });
    const run = { ...settingsOf(picture), caption, made, seed: picture.seed, num: pictures.length, id: newId(), time: Date.now(), px: picture.px, digest: picture.digest, pictures };
    show(run);
    $("spoken").textContent = say(made === "edit" ? "edited" : "varied1", { num: run.num, caption });
    suggestions.update();
    await keep(run);
  } catch (error) {
    if (error.name !== "AbortError") refused(error, () => remake(picture, made, how));
  } finally {
    if (asking === mine) $("wall").setAttribute("aria-busy", "false");
  }
}

const newId = () => crypto.randomUUID?.() ?? String(Math.random()); // randomUUID is for secure origins alone

function refused(error, again) {
  if (!(error instanceof api.Refusal)) throw error;
  if (error.status === 401) {
    askForKey();
  } else if (error.passing) {
    notify(say(error.status ? "busy" : "away"));
    clearTimeout(retrying);
    retrying = setTimeout(again, 1000 * Math.min(error.retryS, 30));
  } else {
    if (!wall) show(null, 0);
    notify(say("failed", { message: error.message }));
  }
}

/** Says something above the wall, or takes back what was said of the same thing. */
function notify(text, about = "drawing") {
  if (!text && $("notice").dataset.about !== about) return;
  $("notice").dataset.about = about;
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

async function keep(run) {
  clearTimeout(settling);
  if (run.kept) return;
  run.kept = true;
  await store.put("runs", run);
  shelf.showHistory();
}

// ---- the wall

function show(run, placeholders = 0) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  wall = run;
  urls = run ? run.pictures.map((picture) => URL.createObjectURL(picture.blob)) : [];
  $("wall").dataset.num = run ? run.num : placeholders;
  $("wall").replaceChildren(...(run ? run.pictures.map(tile) : Array.from({ length: placeholders }, empty)));
  $("share").disabled = !run || Boolean(run.made);
  $("zip").disabled = !run;
}

function empty() {
  const item = document.createElement("li");
  item.className = "empty";
  return item;
}

function tile(picture, i) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.classList.toggle("kept", favourites.has(favouriteId(wall, picture.seed)));
  const image = document.createElement("img");
  image.src = urls[i];
  image.classList.toggle("sharp", isSharp(wall.px));
  image.alt = say("open", { caption: wall.caption, seed: picture.seed });
  button.append(image);
  button.addEventListener("click", () => viewer.open(pictures(wall), i));
  item.append(button);
  return item;
}

/** The pictures of a run as the viewer and the favourites know them. */
const pictures = (run) => run.pictures.map((one) => ({ ...settingsOf(run), ...madeOf(run), ...one, px: run.px, digest: run.digest, id: favouriteId(run, one.seed) }));
const madeOf = (run) => (run.made ? { made: run.made } : {});
const settingsOf = ({ model, caption, variety, guidance }) => ({ model, caption, variety, guidance });
const favouriteId = (run, seed) => JSON.stringify([run.digest, run.caption, seed, run.variety, run.guidance, ...(run.made ? [run.made, run.id] : [])]);

// Arrow keys go from picture to picture.
$("wall").addEventListener("keydown", (event) => {
  const buttons = [...$("wall").querySelectorAll("button")];
  const columns = getComputedStyle($("wall")).gridTemplateColumns.split(" ").length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const next = step && buttons[buttons.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

// ---- settings

/** Takes over some settings and puts all of them on the page. */
function set(some) {
  Object.assign(settings, some);
  if (document.activeElement !== $("caption") || some.caption !== undefined) $("caption").value = settings.caption;
  $("seed").value = settings.seed;
  for (const name of ["variety", "guidance"]) {
    $(name).value = settings[name];
    $(`${name}-value`).textContent = Number(settings[name]).toLocaleString(languageNow(), { maximumFractionDigits: 2 });
  }
  for (const radio of $("num").querySelectorAll("input")) radio.checked = Number(radio.value) === settings.num;
  $("model").value = settings.model;
}

function offerNumbers() {
  const most = about()?.limits.images ?? 16;
  $("num").replaceChildren(
    ...NUMBERS.filter((num) => num <= most).map((num) => {
      const label = document.createElement("label");
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "num", value: num, checked: num === settings.num });
      const text = document.createElement("span");
      text.textContent = num;
      label.append(radio, text);
      return label;
    }),
  );
}

async function choose(model) {
  if (!known.about.has(model)) known.about.set(model, await api.describe(model));
  set({ model, num: Math.min(settings.num, known.about.get(model).limits.images) });
  offerNumbers();
  $("guidance-setting").hidden = !about().t2igan.guidance;
  if (!about().t2igan.guidance) set({ guidance: 1 });
  suggestions.of(about());
  localStorage.setItem("t2igan.model", model);
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  draw().then(() => wall && !wall.kept && keep(wall));
});
$("caption").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
$("caption").addEventListener("input", (event) => {
  settings.caption = $("caption").value;
  if (event.isComposing) return; // Chinese is typed in several steps
  suggestions.update();
  soon();
});
$("caption").addEventListener("compositionend", () => {
  suggestions.update();
  soon();
});
$("num").addEventListener("change", (event) => {
  set({ num: Number(event.target.value) });
  soon(0);
});
for (const name of ["variety", "guidance"]) {
  $(name).addEventListener("input", () => {
    set({ [name]: Number($(name).value) });
    soon(90);
  });
}
$("seed").addEventListener("input", () => {
  const seed = Number($("seed").value.replace(/\D/g, ""));
  settings.seed = Math.min(seed, 4294967295 - settings.num);
  soon();
});
$("seed").addEventListener("change", () => set({}));
$("dice").addEventListener("click", () => {
  set({ seed: randomSeed() });
  draw();
});
$("model").addEventListener("change", async () => {
  await choose($("model").value).catch((error) => refused(error, () => choose($("model").value)));
  draw();
});

// ---- links, files

function linkOf(run) {
  const parts = new URLSearchParams({ p: run.caption, s: run.seed, n: run.num, t: run.variety, m: run.model });
  if (run.guidance !== 1) parts.set("g", run.guidance);
  return `#${parts}`;
}

function fromLink() {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (!parts.has("p")) return null;
  const number = (name, usual, most) => {
    const value = parts.has(name) ? Number(parts.get(name)) : usual;
    return Number.isFinite(value) && value >= 0 && value <= most ? value : usual;
  };
  const num = number("n", 8, 16);
  return {
    caption: parts.get("p").slice(0, 2000),
    seed: Math.floor(number("s", 0, 4294967279)),
    num: NUMBERS.includes(num) ? num : 8,
    variety: number("t", 1, 2),
    guidance: number("g", 1, 10),
    model: parts.get("m") ?? "",
  };
}

$("share").addEventListener("click", async () => {
  history.replaceState(null, "", linkOf(wall));
  try {
    await navigator.clipboard.writeText(location.href);
    flash("share", say("shared"));
  } catch {
    flash("share", say("shareFailed"));
  }
});

function flash(id, text) {
  $("spoken").textContent = text;
  const place = $("hint");
  place.textContent = text;
  setTimeout(() => (place.textContent = say("hint")), 4000);
  $(id).focus();
}

$("zip").addEventListener("click", async () => {
  const run = wall;
  let large = run.pictures;
  try {
    if (!run.made) large = await api.draw(run, run.pictures.map((picture) => picture.seed), 0);
  } catch {
    // The server is away: the pictures as they were drawn are here.
  }
  const files = large.map((picture, i) => ({ name: `${String(i).padStart(5, "0")}_seed${picture.seed}.png`, blob: picture.blob }));
  save(await zip(files), "t2igan.zip");
});

for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
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
  if (file) await restore(file);
});
addEventListener("paste", async (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type === "image/png");
  if (file) await restore(file);
});

async function restore(file) {
  const recipe = await recipeOf(file);
  const caption = recipe?.prompt ?? recipe?.prompts?.[0];
  const seed = recipe?.seed ?? recipe?.seeds?.[0];
  if (typeof caption !== "string" || !Number.isInteger(seed)) return notify(say("noRecipe"), "file");
  const model = known.models.find((one) => one.t2igan.digest === recipe.model);
  if (model) await choose(model.id);
  set({ caption, seed, num: recipe.seeds ? nearest(recipe.seeds.length) : settings.num, variety: Number(recipe.truncation ?? 1), guidance: about().t2igan.guidance ? Number(recipe.guidance ?? 1) : 1 });
  suggestions.update();
  await draw();
  flash("caption", say(model ? "restored" : "otherModel"));
}

const nearest = (num) => NUMBERS.reduce((best, one) => (Math.abs(one - num) < Math.abs(best - num) ? one : best));

// ---- what is around it

const suggestions = new Suggestions($("caption"), $("suggestions"), $("words"), (caption) => {
  set({ caption });
  draw();
});
const viewer = new Viewer({
  similar: (picture) => {
    set({ ...settingsOf(picture), seed: picture.seed });
    suggestions.update();
    draw();
  },
  editable: (picture) => known.models.some((model) => model.id === picture.model && model.t2igan.digest === picture.digest && model.t2igan.editable),
  vary: (picture) => remake(picture, "vary", { n: settings.num, strength: 0.5 }),
  edit: (picture, caption) => remake(picture, "edit", { prompt: caption }),
  isFavourite: (picture) => favourites.has(picture.id),
  favour: async (picture) => {
    if (favourites.has(picture.id)) await store.remove("favourites", picture.id);
    else await store.put("favourites", { ...picture, time: Date.now() });
    await readFavourites();
  },
});
const shelf = new Shelf({
  restore: (run) => {
    giveUp();
    notify("");
    set({ ...settingsOf(run), seed: run.seed, num: run.num });
    if (known.models.some((model) => model.id === run.model)) choose(run.model);
    else set({ model: known.models[0]?.id ?? "" });
    suggestions.update();
    show(run);
    if (!run.made) history.replaceState(null, "", linkOf(run));
    scrollTo({ top: 0 });
  },
  open: (pictures, i) => viewer.open(pictures, i),
});

async function readFavourites() {
  const found = await shelf.showFavourites();
  favourites = new Set(found.map((one) => one.id));
  wall?.pictures.forEach((picture, i) => {
    $("wall").children[i]?.firstChild.classList.toggle("kept", favourites.has(favouriteId(wall, picture.seed)));
  });
}

$("about").addEventListener("click", () => {
  const model = about();
  if (!model) return;
  $("card-title").textContent = model.id;
  const facts = document.createElement("p");
  facts.className = "meta";
  facts.textContent = say("facts", { px: model.t2igan.native_px, tokens: model.t2igan.max_tokens, digest: model.t2igan.digest });
  const title = document.createElement("h3");
  title.textContent = say("wordsKnown");
  const cloud = document.createElement("div");
  cloud.className = "cloud";
  cloud.append(...model.vocabulary.words.slice(0, 200).map((word) => suggestions.word(word, () => $("card").close())));
  const card = model.card ? rendered(model.card) : [Object.assign(document.createElement("p"), { textContent: say("noCard") })];
  $("card-text").replaceChildren(facts, title, cloud, ...card);
  $("card").showModal();
  $("card-text").scrollTop = 0;
});
$("card-close").addEventListener("click", () => $("card").close());
$("language").addEventListener("click", () => {
  localStorage.setItem("t2igan.language", languageNow() === "en" ? "zh" : "en");
  address();
});
$("theme").addEventListener("click", () => {
  const order = ["", "light", "dark"];
  const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
  localStorage.setItem("t2igan.theme", next);
  wear(next);
});
addEventListener("keydown", (event) => {
  const typing = /INPUT|TEXTAREA|SELECT/.test(document.activeElement?.tagName) || document.querySelector("dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") $("caption").focus();
  else if (event.key === "r") $("dice").click();
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
  set({});
  suggestions.update();
  shelf.showHistory();
  shelf.showFavourites();
}

function askForKey() {
  if ($("key-dialog").open) return;
  $("key-dialog").showModal();
}
$("key-form").addEventListener("submit", () => {
  api.keepKey($("key").value.trim());
  start();
});

async function start() {
  try {
    known.models = await api.models();
    const linked = fromLink();
    const ids = known.models.map((model) => model.id);
    const wanted = [linked?.model, localStorage.getItem("t2igan.model"), ids[0]].find((id) => ids.includes(id));
    $("model").replaceChildren(...ids.map((id) => new Option(id, id)));
    $("model-choice").hidden = ids.length < 2;
    await choose(wanted);
    notify("");
    if (linked) set({ ...linked, model: wanted, guidance: about().t2igan.guidance ? linked.guidance : 1 });
    else if (!settings.caption) set({ caption: about().examples[0] ?? about().vocabulary.words.slice(0, 3).join(" "), seed: randomSeed() });
    suggestions.update();
    await draw();
  } catch (error) {
    refused(error, start);
  }
}

wear(localStorage.getItem("t2igan.theme"));
address();
show(null, settings.num);
readFavourites();
addEventListener("hashchange", () => {
  const linked = fromLink();
  if (!linked) return;
  set({ ...linked, model: known.models.some((model) => model.id === linked.model) ? linked.model : settings.model });
  draw();
});
start();
