// The server, as the page talks to it. Addresses are relative, so that the page works below any path.

const KEY = "t2igan.key";

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
async function ask(path, body, signal) {
  const headers = {};
  const key = localStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
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
export const describe = (id) => ask(`t2igan/v1/models/${encodeURIComponent(id)}`);
export const unseenWords = (model, prompt, signal) => ask("t2igan/v1/words", { model, prompt }, signal);

/** Draws a picture a seed; returns [{seed, blob}]. */
export async function draw(settings, seeds, px, signal) {
  const body = { model: settings.model, prompt: settings.caption, seeds, truncation: settings.variety, response_format: "b64_json" };
  if (settings.guidance !== 1) body.guidance = settings.guidance;
  if (px) body.size = `${px}x${px}`;
  const { data } = await ask("v1/images/generations", body, signal);
  return data.map((item) => ({ seed: item.seed, blob: toBlob(item.b64_json) }));
}

/** Variations of a picture, or the picture as another caption has it; returns [{seed, blob}]. */
export async function remake(picture, how, signal) {
  const form = new FormData();
  form.append("image", picture.blob, "picture.png");
  const px = Math.ceil(512 / picture.px) * picture.px; // whole pixels, large enough to keep: no seed draws it again
  const fields = { model: picture.model, caption: picture.caption, size: `${px}x${px}`, response_format: "b64_json", ...how };
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  const { data } = await ask(how.prompt ? "v1/images/edits" : "v1/images/variations", form, signal);
  return data.map((item) => ({ seed: item.seed, blob: toBlob(item.b64_json) }));
}

function toBlob(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
