// Model cards: headings, lists, tables, emphasis, code and links of Markdown as elements. Nothing is read as HTML.

const INLINE = /\\([\\`*_{}[\]<>#|!~&$()])|`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\((https?:[^)\s]+)\)/g;

function element(name, children = []) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function inline(text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[1]) parts.push(found[1]);
    else if (found[2]) parts.push(element("code", [found[2]]));
    else if (found[3]) parts.push(element("strong", inline(found[3])));
    else parts.push(link(found[4], found[5]));
  }
  parts.push(text.slice(at));
  return parts;
}

function link(text, address) {
  const made = element("a", [text]);
  made.href = address;
  made.rel = "noopener noreferrer";
  return made;
}

const cells = (line) => line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());

function table(lines) {
  const [head, , ...rows] = lines.map(cells);
  const row = (kind) => (texts) => element("tr", texts.map((text) => element(kind, inline(text))));
  const made = element("table", [element("thead", [row("th")(head)]), element("tbody", rows.map(row("td")))]);
  const around = element("div", [made]);
  around.className = "scroll";
  return around;
}

function block(text) {
  const lines = text.split("\n");
  const heading = /^(#{1,4}) (.*)$/.exec(lines[0]);
  if (heading && lines.length === 1) return element(`h${Math.min(heading[1].length + 1, 5)}`, inline(heading[2]));
  if (lines.length > 1 && lines[0].startsWith("|") && /^[|\s:-]+$/.test(lines[1])) return table(lines);
  if (lines.every((line) => /^(- |  )/.test(line))) {
    const items = text.split(/\n(?=- )/).map((item) => item.slice(2).replace(/\n\s*/g, " "));
    return element("ul", items.map((item) => element("li", inline(item))));
  }
  return element("p", inline(text.replace(/\n/g, " ")));
}

/** Returns the elements that a text of Markdown describes. */
export function rendered(text) {
  const parts = text.split(/^```[^\n]*\n([^]*?)^```\s*$/m); // every second one is code, blank lines and all
  const blocks = (part) => (part.trim() ? part.trim().split(/\n{2,}/).map(block) : []);
  return parts.flatMap((part, i) => (i % 2 ? [element("pre", [element("code", [part])])] : blocks(part)));
}
