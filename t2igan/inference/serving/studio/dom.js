// Elements, in few words.

export const $ = (id) => document.getElementById(id);

/** Makes an element with these properties ("label" is what a screen reader says) and children. */
export function make(name, { label, on = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  if (label !== undefined) made.setAttribute("aria-label", label);
  for (const [event, act] of Object.entries(on)) made.addEventListener(event, act);
  made.append(...children);
  return made;
}

/** Makes a button of some classes; `inside` is a text or an element. */
export const button = (className, inside, click, more = {}) => make("button", { type: "button", className, on: { click }, ...more }, inside);

/** Has a click beside a dialog, and a button in it, close it. */
export function closable(dialog, close) {
  let beside = false; // a stroke of the brush may end there, and is no click
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("pointerdown", (event) => (beside = event.target === dialog));
  dialog.addEventListener("click", (event) => {
    if (beside && event.target === dialog) dialog.close();
  });
}
