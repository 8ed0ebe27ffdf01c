// What the page says, in the language of the user.

import { CHINESE } from "./chinese.js";
import { ENGLISH } from "./english.js";

export const STRINGS = { en: ENGLISH, zh: CHINESE };

let language = "en";

/** Returns the text of that name in the language of the page, with {names} filled in; for one thing it may have a text of
 * its own, as "countOne" beside "count". */
export function say(name, values = {}) {
  const texts = STRINGS[language];
  const text = (values.num === 1 && texts[`${name}One`]) || texts[name] || name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

/** Returns words as a person lists them, in quotes. */
export function listed(words) {
  const quoted = words.map((word) => `“${word}”`);
  if (quoted.length < 2) return quoted.join("");
  const comma = language === "zh" ? "、" : ", ";
  return quoted.slice(0, -1).join(comma) + say("and") + quoted.at(-1);
}

export const languageNow = () => language;

/** Chooses the language and puts its words on the page. */
export function speak(chosen) {
  language = chosen in STRINGS ? chosen : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", say(element.dataset.tLabel));
    if (element.tagName === "BUTTON") element.title = say(element.dataset.tLabel);
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = say(element.dataset.tPlaceholder);
}
