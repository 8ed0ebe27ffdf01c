// Captions to ids as t2igan's tokenizer.json says: NFKC, lower case, white space, GPT-2's words, byte-level BPE.
//
// Python's library, `tokenizers`, differs from JavaScript in four ways, all of which matter for some text: its white
// space is Unicode's White_Space (\x85 too, not \ufeff), it lowers each code point alone (no final sigma), a lone
// surrogate becomes "?", and its tables of NFKC are older. `keep` lists the code points that those leave as they are.

const SPACE = '\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const WORDS = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`;
const PAD = 0, BEGIN = 1, END = 2, MARKS = 2;

export class Tokenizer {
  // json: {vocab: {token: id}, merges: [[left, right], ...], max_tokens, lowercase, keep}; keep: a character class.
  constructor(json) {
    this.vocab = new Map(Object.entries(json.vocab));
    this.ranks = new Map(json.merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
    this.maxTokens = json.max_tokens;
    this.lowercase = json.lowercase;
    this.words = new RegExp(WORDS, 'gu');
    this.spaces = new RegExp(`[${SPACE}]+`, 'gu');
    this.normal = json.keep ? new RegExp(`[^${json.keep}]+`, 'gu') : /[^]+/gu;
    this.seen = new Map();
    this.characters = []; // of a byte, as GPT-2 prints it
    for (let byte = 0, other = 256; byte < 256; byte++) {
      const prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      this.characters.push(String.fromCodePoint(prints ? byte : other++));
    }
  }

  normalised(text) {
    text = text.replace(/[\ud800-\udfff]/gu, '?').replace(this.normal, (part) => part.normalize('NFKC'));
    if (this.lowercase) text = Array.from(text, (character) => character.toLowerCase()).join('');
    return text.replace(this.spaces, ' ').replace(/^ | $/g, '');
  }

  // The ids of one word: the pair of parts that was learned first is joined, again and again.
  word(text) {
    if (this.seen.has(text)) return this.seen.get(text);
    const parts = Array.from(new TextEncoder().encode(text), (byte) => this.characters[byte]);
    for (;;) {
      let first = Infinity, at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i]} ${parts[i + 1]}`);
        if (rank < first) [first, at] = [rank, i];
      }
      if (at < 0) break;
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
    const ids = parts.map((part) => this.vocab.get(part));
    this.seen.set(text, ids);
    return ids;
  }

  // How many tokens a caption has, without begin and end, and however long.
  count(text) {
    return this.pieces(text).length;
  }

  pieces(text) {
    text = this.normalised(text);
    return text ? (text.startsWith(' ') ? text : ' ' + text).match(this.words).flatMap((word) => this.word(word)) : [];
  }

  // The row of ids without padding; what does not fit is cut, the end stays.
  encode(text) {
    return [BEGIN, ...this.pieces(text).slice(0, this.maxTokens - MARKS), END];
  }
}
