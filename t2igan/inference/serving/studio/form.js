// The caption and the settings, as they stand on the page.

import { $, make } from "./dom.js";
import { about, described, LARGEST_SEED, NUMBERS, randomSeed, settings } from "./state.js";
import { languageNow, say } from "./strings.js";
import { Suggestions } from "./suggestions.js";

export class Form {
  /** `actions`: draw, soon (draw when no more keys come), submit. */
  constructor(actions) {
    this.actions = actions;
    this.suggestions = new Suggestions($("caption"), $("suggestions"), $("words"), (caption) => {
      this.set({ caption });
      actions.draw();
    });
    this.listenToCaption();
    this.listenToSettings();
    const wide = matchMedia("(min-width: 700px)"); // where there is room, the settings stand open
    const unfold = () => ($("settings").open = wide.matches);
    wide.addEventListener("change", unfold);
    unfold();
  }

  /** Takes over some settings and puts all of them on the page. */
  set(some) {
    Object.assign(settings, some);
    if (document.activeElement !== $("caption") || some.caption !== undefined) $("caption").value = settings.caption;
    $("seed").value = settings.seed;
    for (const name of ["variety", "guidance"]) {
      $(name).value = settings[name];
      $(`${name}-value`).textContent = Number(settings[name]).toLocaleString(languageNow(), { maximumFractionDigits: 2 });
    }
    for (const radio of $("num").querySelectorAll("input")) radio.checked = Number(radio.value) === settings.num;
    $("model-name").textContent = settings.model;
    $("settings-now").textContent = say("settingsNow", { num: say("count", settings), variety: $("variety-value").textContent, seed: settings.seed });
    if (some.caption !== undefined) this.suggestions.update();
  }

  /** Puts all of it on the page in the language of the user. */
  address() {
    this.set({});
    this.offerNumbers();
    this.suggestions.update();
  }

  offerNumbers() {
    const most = about()?.limits.images ?? NUMBERS.at(-1);
    const offered = NUMBERS.filter((num) => num <= most);
    $("num").replaceChildren(
      ...offered.map((num) => {
        const radio = make("input", { type: "radio", name: "num", value: num, checked: num === settings.num });
        return make("label", {}, radio, make("span", {}, String(num)));
      }),
    );
    $("painter-num").replaceChildren(...offered.map((num) => new Option(say("versions", { num }), num, num === 4, num === 4)));
  }

  /** Chooses a model, and offers what it can do. Throws a Refusal where the server does not say what that is. */
  async choose(model) {
    const { limits, t2igan } = await described(model);
    this.set({ model, num: Math.min(settings.num, limits.images), guidance: t2igan.guidance ? settings.guidance : 1 });
    this.offerNumbers();
    $("guidance-setting").hidden = !t2igan.guidance;
    $("open").hidden = !(t2igan.editable || t2igan.captioner);
    this.suggestions.of(about());
    localStorage.setItem("t2igan.model", model);
  }

  /** A caption to begin with; "" where none is known, since a few words by chance draw nothing that one would want. */
  get example() {
    return about().examples[0] ?? "";
  }

  listenToCaption() {
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.actions.submit();
    });
    $("caption").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("form").requestSubmit();
    });
    const typed = () => {
      this.suggestions.update();
      this.actions.soon();
    };
    $("caption").addEventListener("input", (event) => {
      settings.caption = $("caption").value;
      if (!event.isComposing) typed(); // Chinese is typed in several steps
    });
    $("caption").addEventListener("compositionend", typed);
  }

  listenToSettings() {
    $("num").addEventListener("change", (event) => {
      this.set({ num: Number(event.target.value) });
      this.actions.draw();
    });
    for (const name of ["variety", "guidance"]) {
      $(name).addEventListener("input", () => {
        this.set({ [name]: Number($(name).value) });
        this.actions.soon();
      });
    }
    $("seed").addEventListener("input", () => {
      const seed = Number($("seed").value.replace(/\D/g, ""));
      settings.seed = Math.min(seed, LARGEST_SEED - settings.num);
      this.actions.soon();
    });
    $("seed").addEventListener("change", () => this.set({}));
    for (const dice of ["dice", "again"]) {
      $(dice).addEventListener("click", () => {
        this.set({ seed: randomSeed() });
        this.actions.draw();
      });
    }
  }
}
