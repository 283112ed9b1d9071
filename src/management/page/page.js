// What a view is given: a place for its content, its address, and things that end with it.

import { fill, h } from "./dom.js";
import { poll } from "./poll.js";

export class Page {
  #ending = new AbortController();

  constructor(params, query) {
    Object.assign(this, { params, query });
    this.heading = h("h1", { tabindex: -1 });
    this.before = h("p", { class: "crumbs" });
    this.beside = h("div", { class: "beside-title" });
    this.actions = h("div", { class: "actions" });
    this.content = h("div", { class: "content" });
    this.element = h(
      "div",
      { class: "page" },
      h("header", { class: "page-head" }, h("div", null, this.before, h("div", { class: "title" }, this.heading, this.beside)), this.actions),
      this.content,
    );
  }

  /** Aborted when the view is left. */
  get signal() {
    return this.#ending.signal;
  }

  /** `above`: a link to the list that this is a part of. */
  title(text, above) {
    this.heading.textContent = text;
    this.before.hidden = !above;
    fill(this.before, above);
    document.title = `${text} – leveret`;
  }

  show(...content) {
    fill(this.content, content);
  }

  /** Repeats `work` while the view is shown and the tab visible. */
  every(seconds, work) {
    return poll(seconds, work, this.signal);
  }

  leave() {
    this.#ending.abort();
  }
}

/**
 * The frame of views about one thing: loads it every `seconds` and calls `tell(thing)`. When it is not there, or no
 * more, the reason takes the place of the content.
 */
export function watch(page, seconds, load, tell) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  page.element.insertBefore(fault, page.content);
  return page.every(seconds, async () => {
    try {
      const thing = await load();
      if (page.signal.aborted) return;
      fault.hidden = true;
      page.content.hidden = page.actions.hidden = false;
      tell(thing);
    } catch (error) {
      if (error.name === "AbortError") return;
      const gone = error.status === 404;
      fault.textContent = gone ? "It does not exist, or no longer." : error.message;
      fault.hidden = false;
      if (gone) page.content.hidden = page.actions.hidden = true;
    }
  });
}
