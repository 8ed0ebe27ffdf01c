// Calls every route with openai's Node client, from the folder that is given; `record.py` runs it.
import { createRequire } from "node:module";
import { createReadStream, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "index.js"));
const { default: OpenAI, toFile } = require("openai");
const grey = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFElEQVR4nGOYSSJgGNUwqmH4agAABEHLEL55Qj8AAAAASUVORK5CYII=",
  "base64",
); // 16 x 16 px, grey
const path = join(tmpdir(), "t2igan_recorded.png");
writeFileSync(path, grey);

const client = new OpenAI({ apiKey: "none", maxRetries: 0, baseURL: process.env.OPENAI_BASE_URL });
const named = (name) => ({ headers: { "x-call": name } });
const prompt = "a person with a red cap";
const picture = () => toFile(grey, "a.png", { type: "image/png" });

await client.images.generate({ prompt, n: 2, size: "256x256", response_format: "b64_json", seed: 1 }, named("generate"));
await client.images.generate({ prompt, model: "gpt-image-1", quality: "low", moderation: "low" }, named("generate newer"));
for await (const event of await client.images.generate({ prompt, model: "gpt-image-1", stream: true, partial_images: 1 }, named("generate stream")))
  if (event.type !== "image_generation.completed") throw new Error(event.type);
await client.images.edit({ image: await picture(), mask: await picture(), prompt, quality: "low" }, named("edit"));
await client.images.edit({ image: [await picture()], prompt, caption: "green hair", quality: "low" }, named("edit caption"));
for await (const event of await client.images.edit({ image: await picture(), prompt, caption: "green hair", quality: "low", stream: true }, named("edit stream")))
  if (event.type !== "image_edit.completed") throw new Error(event.type);
await client.images.createVariation({ image: createReadStream(path), n: 2, caption: prompt, quality: "low" }, named("variation"));
for await (const model of client.models.list(named("models"))) if (!model.id) throw new Error("no id");
await client.models.retrieve("gpt-image-1", named("model"));
