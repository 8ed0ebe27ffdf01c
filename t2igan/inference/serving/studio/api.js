// The server, as the page talks to it. Addresses are relative, so that the page works below any path.

const KEY = "t2igan.key";
const ASKED_EVERY_MS = 500;

export class Refusal extends Error {
  constructor(status, message, final, retryS) {
    super(message);
    Object.assign(this, { status, final, retryS });
  }
  /** Whether the same request may succeed in a moment. */
  get passing() {
    return !this.final && [0, 429, 502, 503].includes(this.status);
  }
}

export const keepKey = (key) => localStorage.setItem(KEY, key);

/** Sends a request; returns what it answers, as JSON. Throws a Refusal, whose status is 0 where nobody answers. */
async function ask(path, body, signal, id) {
  const headers = {};
  const key = localStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (id) headers["x-request-id"] = id;
  const form = body instanceof FormData;
  if (body && !form) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", body: form ? body : body && JSON.stringify(body), headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "", false, 2);
  }
  const found = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {};
  });
  if (answer.ok) return found;
  const about = found.error ?? {};
  const final = answer.headers.get("x-should-retry") === "false";
  throw new Refusal(answer.status, about.message ?? answer.statusText, final, Number(answer.headers.get("Retry-After")) || 2);
}

export const models = () => ask("v1/models").then((found) => found.data);
export const about = (id) => ask(`t2igan/v1/models/${encodeURIComponent(id)}`);
export const words = (model, prompt, before, signal) => ask("t2igan/v1/words", { model, prompt, before }, signal);

const blobsOf = ({ data }) => data.map((item) => ({ seed: item.seed, blob: toBlob(item.b64_json) }));

/** Draws a picture a seed; returns [{seed, blob}]. */
export async function draw(settings, seeds, px, signal) {
  const body = { model: settings.model, prompt: settings.caption, seeds, truncation: settings.variety, response_format: "b64_json" };
  if (settings.guidance !== 1) body.guidance = settings.guidance;
  if (px) body.size = `${px}x${px}`;
  return blobsOf(await ask("v1/images/generations", body, signal));
}

/** Sends pictures in a form, for work that takes a while; `said` is told how far it is, from 0 to 1. */
async function work(path, files, fields, { signal, said }) {
  const form = new FormData();
  for (const [name, blob] of files) form.append(name, blob, "picture.png");
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value].flat()) form.append(name, one);
  }
  const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("");
  const over = new AbortController();
  if (said) follow(id, said, over.signal);
  try {
    return await ask(path, form, signal, id);
  } finally {
    over.abort();
  }
}

async function follow(id, said, signal) {
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, ASKED_EVERY_MS));
    if (signal.aborted) return;
    const found = await ask(`t2igan/v1/progress/${id}`, null, signal).catch(() => null);
    if (found && !signal.aborted) said(found.progress ?? 0);
  }
}

/** Pictures like one; returns [{seed, blob}]. The fields are `num`, `strength` and `px`. */
export async function vary(picture, { num, strength, px }, how) {
  const fields = { ...common(picture, px), ...said(picture), n: num, strength };
  return blobsOf(await work("v1/images/variations", [["image", picture.blob]], fields, how));
}

/** The picture as another caption has it; returns [{seed, blob}], one of them. */
export async function edit(picture, { caption, px }, how) {
  const fields = { ...common(picture, px), ...said(picture), prompt: caption };
  return blobsOf(await work("v1/images/edits", [["image", picture.blob]], fields, how));
}

/** The picture with what a mask hides drawn anew; returns [{seed, blob}]. */
export async function complete(picture, { mask, caption, num, px }, how) {
  const files = [["image", picture.blob], ["mask", mask]];
  return blobsOf(await work("v1/images/edits", files, { ...common(picture, px), prompt: caption, n: num }, how));
}

/** What a picture shows: {caption, confidence, strangeness, unlike}. */
export const describe = (picture, how) => work("v1/describe", [["image", picture.blob]], { model: picture.model }, how);

/** Pictures from one to another as [{seed, blob}], seeds counting up; as one GIF where `gif` is true. */
export async function between(one, other, { frames, px, gif }, how) {
  const fields = { ...common(one, px), frames, output_format: gif ? "gif" : "png" };
  const drawn = [one, other].every((picture) => !picture.made && picture.guidance === 1) && one.variety === other.variety && one.model === other.model;
  const pair = [one, other];
  let files = [];
  if (drawn) Object.assign(fields, { "prompts[]": pair.map((picture) => picture.caption), "seeds[]": pair.map((picture) => picture.seed), truncation: one.variety });
  else {
    files = pair.map((picture) => ["image", picture.blob]);
    fields["captions[]"] = pair.map((picture) => picture.caption); // "" = the captioner is to say it
  }
  const { data } = await work("v1/interpolations", files, fields, how);
  return data.map((item, i) => ({ seed: i, blob: toBlob(item.b64_json, gif ? "image/gif" : "image/png") }));
}

const common = ({ model }, px) => ({ model, size: `${px}x${px}`, response_format: "b64_json" });
const said = ({ caption }) => (caption ? { caption } : {});

function toBlob(text, type = "image/png") {
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type });
}
