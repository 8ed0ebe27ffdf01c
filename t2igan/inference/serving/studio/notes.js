// What the page says of itself: errors, what is under way, and what has just been done.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { say } from "./strings.js";

const SHOWN_AFTER_MS = 400; // what is done by then needs no word
const TOAST_MS = 5000;
let ticking, toasting;

/** Says something above the wall, or takes back what was said of the same subject. */
export function notify(text, subject = "drawing") {
  if (!text && $("notice").dataset.subject !== subject) return;
  $("notice").dataset.subject = subject;
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** Returns what to say of a refusal, "" of what was given up; throws whatever else it is. */
export function whyNot(error) {
  if (error.name === "AbortError") return "";
  if (!(error instanceof api.Refusal)) throw error;
  return say("failed", { message: error.message || say("awayShort") });
}

/** For screen readers alone. */
export const tell = (text) => ($("spoken").textContent = text);

/** Says in passing what has been done. */
export function toast(text) {
  tell(text);
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => ($("toast").hidden = true), TOAST_MS);
}

/** Shows what is under way, how long it has taken, and a button that calls `cancel`; returns {said, end}: `said` is told how
 * far it is, from 0 to 1, and `end` ends the showing. */
export function working(text, cancel) {
  clearInterval(ticking);
  const begun = Date.now();
  const show = () => {
    const ms = Date.now() - begun;
    $("working").hidden = ms < SHOWN_AFTER_MS;
    $("working-time").textContent = ms < 2000 ? "" : say("seconds", { n: Math.round(ms / 1000) });
  };
  $("working-text").textContent = text;
  $("working-bar").removeAttribute("value");
  $("working-cancel").onclick = cancel;
  show();
  const mine = (ticking = setInterval(show, 200));
  return {
    said: (share) => {
      if (ticking === mine && share > 0) $("working-bar").value = share;
    },
    end: () => {
      clearInterval(mine);
      if (ticking === mine) $("working").hidden = true;
    },
  };
}
