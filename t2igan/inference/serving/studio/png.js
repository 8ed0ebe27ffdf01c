// The recipe inside a PNG: an iTXt chunk with the key "t2igan" (PNG specification, section 11.3.3.4).

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/** Returns the recipe of a PNG file; null for any other file. */
export async function recipeOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return null;
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "iTXt") {
      const recipe = read(data);
      if (recipe) return recipe;
    }
    if (kind === "IEND") return null;
    at += length + 12;
  }
  return null;
}

// Key, 0, whether compressed, how, language, 0, translated key, 0, text in UTF-8.
function read(data) {
  const keyEnd = data.indexOf(0);
  if (new TextDecoder("latin1").decode(data.subarray(0, keyEnd)) !== "t2igan" || data[keyEnd + 1] !== 0) return null;
  const languageEnd = data.indexOf(0, keyEnd + 3);
  const text = data.subarray(data.indexOf(0, languageEnd + 1) + 1);
  try {
    const recipe = JSON.parse(new TextDecoder().decode(text));
    return recipe && typeof recipe === "object" ? recipe : null;
  } catch {
    return null;
  }
}
