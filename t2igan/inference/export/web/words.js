// What each word of a caption does: the caption without it, and pictures in which it counts for more or less, as a weight
// in the language of prompts does in t2igan: (red:1.3).

export const MOST_WEIGHT = 1.5, READ_FROM = 0.5; // a word is read from this weight on

// -> [{word, start, end}]
export function wordsOf(caption) {
  const found = caption.matchAll(/[\p{L}\p{N}\p{M}]+(?:[-'’][\p{L}\p{N}\p{M}]+)*/gu);
  return [...found].map(({ 0: word, index }) => ({ word, start: index, end: index + word.length }));
}

// A caption without a part of it, and without the article, comma, "and" or "with" that then hangs loose. There are no
// lookbehinds, at which older browsers would stop before they can say what they lack.
export function withoutSpan(text, start, end) {
  let left = text.slice(0, start).trimEnd(), right = text.slice(end).trimStart();
  left = left.replace(/(^|\s)(?:an?|the)$/i, '$1').trimEnd();
  const before = left.match(/,$/) ?? left.match(/(?:^|[^\p{L}\p{N}_])(and|or|with)$/iu);
  const after = right.match(/^(?:,|(?:and|or)(?![\p{L}\p{N}_]))\s*/iu);
  if (before && (after || !right || '.;!?'.includes(right[0]))) {
    const goesOn = after && (after[0][0] !== ',' || /(?:^|[^\p{L}\p{N}_])and(?![\p{L}\p{N}_])/iu.test(right));
    if (before[1]?.toLowerCase() === 'with' && goesOn) right = right.slice(after[0].length);
    else left = left.slice(0, left.length - (before[1] ?? ',').length).trimEnd();
  } else if (after && !left) right = right.slice(after[0].length);
  return left + (left && right && !',.;:!?'.includes(right[0]) ? ' ' : '') + right;
}

// The caption without those of its words that do not `stay`.
function withoutWords(caption, words, stay) {
  return words.reduceRight((text, { start, end }, i) => (stay(i) ? text : withoutSpan(text, start, end)), caption).trim();
}

// The style of a caption whose words have weights, and what is read of it. s = s(c) + sum (w - 1) (s(c) - s(c without)).
// encode: caption -> text; weights: a number a word.
export function weighted(networks, z, caption, weights, encode, guidance = 1) {
  const words = wordsOf(caption), whole = networks.style(z, encode(caption).sentence, guidance), style = whole.slice();
  words.forEach((_, i) => {
    const without = weights[i] === 1 ? '' : withoutWords(caption, words, (j) => j !== i);
    if (!without) return; // as it is, or the only word
    const rest = networks.style(z, encode(without).sentence, guidance);
    for (let k = 0; k < style.length; k++) style[k] += (weights[i] - 1) * (whole[k] - rest[k]);
  });
  return { style, text: encode(withoutWords(caption, words, (i) => weights[i] >= READ_FROM) || caption) };
}
