// What differs between two captions, word by word.

import { make } from "./dom.js";

// Words where the browser can find them in any script; otherwise what stands between spaces.
const segmenter = globalThis.Intl?.Segmenter && new Intl.Segmenter(undefined, { granularity: "word" });

/** Returns the pieces of a text in their order, [{text, word}]: words, and what stands between them. */
export function piecesOf(text) {
  if (segmenter) return [...segmenter.segment(text)].map((one) => ({ text: one.segment, word: Boolean(one.isWordLike) }));
  return (text.match(/[\p{L}\p{N}'’-]+|[^\p{L}\p{N}'’-]+/gu) ?? []).map((one) => ({ text: one, word: /[\p{L}\p{N}]/u.test(one) }));
}

/** Returns [{text, kind}] from one caption to another, kind "same", "gone" or "new", along a longest common subsequence. */
export function differences(before, after) {
  const [a, b] = [before, after].map((text) => piecesOf(text).map((piece) => piece.text));
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1)); // of a[i:] and b[j:]
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const found = [];
  const add = (text, kind) => {
    if (found.at(-1)?.kind === kind) found.at(-1).text += text;
    else found.push({ text, kind });
  };
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add(a[i++], "same");
      j++;
    } else if (j === b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) add(a[i++], "gone");
    else add(b[j++], "new");
  }
  return joined(found);
}

/** A single space between two changes belongs to them: "green hat" for "red cap" is one change, not two. */
function joined(parts) {
  const made = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const gap = part.kind === "same" && /^\s*$/.test(part.text) && i > 0 && i + 1 < parts.length;
    if (gap) made.push({ text: part.text, kind: "gap" });
    else made.push(part);
  }
  const merged = [];
  let gone = "";
  let fresh = "";
  const flush = () => {
    if (gone.trim()) merged.push({ text: gone, kind: "gone" });
    if (fresh.trim()) merged.push({ text: fresh, kind: "new" });
    gone = fresh = "";
  };
  for (const { text, kind } of made) {
    if (kind === "same") {
      flush();
      merged.push({ text, kind });
    }
    if (kind === "gone" || kind === "gap") gone += text;
    if (kind === "new" || kind === "gap") fresh += text;
  }
  flush();
  return merged;
}

/** Returns elements that show the differences: what is gone struck through, what is new marked. */
export function marked(before, after) {
  const name = { gone: "del", new: "ins" };
  return differences(before, after).map(({ text, kind }) => (kind === "same" ? text : make(name[kind], {}, text)));
}
