// Short notices at the edge of the page. Screen readers hear them; what went wrong stays until it is put away.

import { h } from "./dom.js";

const SECONDS = 6;
const MOST = 4;

/** The place of the notices, once per page. */
export const place = h("div", { class: "notices", role: "region", "aria-label": "Notices" });
const quiet = h("div", { role: "status", "aria-live": "polite" });
const urgent = h("div", { role: "alert" });
place.append(urgent, quiet);

export const done = (text) => show(quiet, "done", text, SECONDS);
export const failed = (error) => show(urgent, "failed", error?.message ?? String(error), 0);

/** Does `work`; its failure becomes a notice. True when it went well. */
export async function attempt(work, text) {
  try {
    await work();
  } catch (error) {
    failed(error);
    return false;
  }
  if (text) done(text);
  return true;
}

function show(region, kind, text, seconds) {
  const close = h("button", { type: "button", class: "plain", "aria-label": "Dismiss", onclick: () => note.remove() }, "×");
  const note = h("div", { class: `notice ${kind}` }, h("p", null, text), close);
  region.append(note);
  while (region.children.length > MOST) region.firstChild.remove();
  if (seconds) setTimeout(() => note.remove(), seconds * 1000);
}
