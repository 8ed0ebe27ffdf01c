// What the page knows of the server's models, and the settings for what is drawn next.

import * as api from "./api.js";

export const NUMBERS = [1, 4, 8, 12, 16];
export const LARGEST_SEED = 4294967295;

export const settings = { model: "", caption: "", seed: 0, num: 8, variety: 1, guidance: 1 };
const known = { models: [], about: new Map() }; // summaries in the server's order; descriptions by name

export const models = () => known.models;
export const modelNamed = (id) => known.models.find((model) => model.id === id);
export const modelOf = (digest) => known.models.find((model) => model.t2igan.digest === digest);

/** The description of the chosen model; undefined until it has come. */
export const about = () => known.about.get(settings.model);

export async function readModels() {
  known.models = await api.models();
}

/** Asks the server about a model, once. */
export async function described(id) {
  if (!known.about.has(id)) known.about.set(id, await api.about(id));
  return known.about.get(id);
}

/** Whether the model of a picture is here and can change pictures. */
export const isEditable = (picture) => Boolean(modelOf(picture.digest)?.t2igan.editable);

export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % (LARGEST_SEED - 16);
export const newId = () => crypto.randomUUID?.() ?? String(Math.random()); // randomUUID is for secure origins alone
