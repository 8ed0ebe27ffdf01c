// A run is what hangs on the wall: pictures of one caption, drawn at once, and all that they depend on.
//
// {id, time, model, digest, px, caption, variety, guidance, seed, num, pictures: [{seed, blob}]}, and, where no seed draws
// them again, `made`: "vary", "edit", "complete", "mix" or "given", with `from`, [{blob, px, caption}] of what it was made of.

export const settingsOf = ({ model, caption, variety, guidance }) => ({ model, caption, variety, guidance });
export const seedsOf = (run) => Array.from({ length: run.num }, (_, i) => run.seed + i);

/** What a picture is known by among the favourites: all that it depends on, or the run that made it. */
export function pictureId(run, seed) {
  return JSON.stringify(run.made ? [run.made, run.id, seed] : [run.digest, run.caption, seed, run.variety, run.guidance]);
}

/** The pictures of a run, each with all that is known of it. */
export function picturesOf(run) {
  const common = { ...settingsOf(run), px: run.px, digest: run.digest, ...(run.made && { made: run.made, from: run.from }) };
  return run.pictures.map((one) => ({ ...common, ...one, id: pictureId(run, one.seed) }));
}

/** Whether pixels are shown as squares where a picture is enlarged: of large ones they are too small for it. */
export const isSharp = (px) => px <= 128;

/** Whether a picture is so small that its pixels are squares in whatever size it is shown. */
export const isPixelArt = (px) => px < 64;

/** A size for files that are kept: so many whole pixels a pixel that it has 512 at least. */
export const keptPx = (px) => Math.ceil(512 / px) * px;

// ---- links: all that a run depends on, behind the # of the address, which no server gets to see

export function linkOf(run) {
  const parts = new URLSearchParams({ p: run.caption, s: run.seed, n: run.num, t: run.variety, m: run.model });
  if (run.guidance !== 1) parts.set("g", run.guidance);
  return `#${parts}`;
}

/** Returns the settings of a link; null where it is none. Anybody may have written it: numbers are kept within bounds. */
export function fromLink(hash, numbers) {
  const parts = new URLSearchParams(hash.slice(1));
  if (!parts.has("p")) return null;
  const number = (name, usual, most) => {
    const value = parts.has(name) ? Number(parts.get(name)) : usual;
    return Number.isFinite(value) && value >= 0 && value <= most ? value : usual;
  };
  const num = number("n", 8, 16);
  return {
    caption: parts.get("p").slice(0, 2000),
    seed: Math.floor(number("s", 0, 4294967279)),
    num: numbers.includes(num) ? num : 8,
    variety: number("t", 1, 2),
    guidance: number("g", 1, 10),
    model: parts.get("m") ?? "",
  };
}
