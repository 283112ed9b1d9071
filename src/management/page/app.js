// Starts the page: who is it, then the frame around the views, and the view that the address names.

import { LOGGED_OUT } from "./api.js";
import { fill, h } from "./dom.js";
import { frame } from "./frame.js";
import * as notice from "./notice.js";
import { Page } from "./page.js";
import * as pulse from "./pulse.js";
import { here, link, match } from "./router.js";
import * as session from "./session.js";
import login from "./views/login.js";

// Which file of views/ shows what. Each is loaded when it is wanted first.
const ROUTES = [
  { pattern: [], view: "overview" },
  { pattern: ["connections"], view: "connections" },
  { pattern: ["connections", ":name"], view: "connection" },
  { pattern: ["channels"], view: "channels" },
  { pattern: ["channels", ":name"], view: "channel" },
  { pattern: ["consumers"], view: "consumers" },
  { pattern: ["exchanges"], view: "exchanges" },
  { pattern: ["exchanges", ":vhost", ":name"], view: "exchange" },
  { pattern: ["queues"], view: "queues" },
  { pattern: ["queues", ":vhost", ":name"], view: "queue" },
  { pattern: ["admin", "policies"], view: "policies", tag: "policymaker" },
  { pattern: ["admin", "users"], view: "users", tag: "administrator" },
  { pattern: ["admin", "users", ":name"], view: "user", tag: "administrator" },
  { pattern: ["admin", "vhosts"], view: "vhosts", tag: "administrator" },
  { pattern: ["admin", "vhosts", ":name"], view: "vhost", tag: "administrator" },
  { pattern: ["admin", "limits"], view: "limits", tag: "administrator" },
  { pattern: ["admin", "definitions"], view: "definitions", tag: "administrator" },
  { pattern: ["admin", "log"], view: "log", tag: "administrator" },
];

let shown = null;
let around = null;

async function begin() {
  document.body.append(notice.place);
  try {
    await session.resume();
  } catch (error) {
    notice.failed(error);
  }
  if (session.current()) enter({ focus: false });
  else leave();
}

/** After a log-in: the frame, and the view that the address names. */
function enter({ focus = true } = {}) {
  pulse.start();
  around = frame({ onLeave: leave, onVhost: () => show({ focus: false }) });
  fill(document.body, around.element, notice.place);
  show({ focus });
}

/** Back to the log-in. The address stays, and with it where the user goes next. */
function leave() {
  shown?.leave();
  shown = null;
  around?.leave();
  around = null;
  pulse.stop();
  session.forget();
  fill(document.body, login(() => enter()), notice.place);
  document.querySelector("input").focus();
}

async function show({ focus = true } = {}) {
  if (!around) return;
  shown?.leave();
  const { parts, query } = here();
  const found = match(ROUTES, parts);
  const page = new Page(found?.params ?? {}, query);
  shown = page;
  const view = await viewOf(found?.route);
  // Somebody went on, or out, while it was loaded.
  if (shown !== page) return;
  view(page);
  around.show(page.element, parts);
  // Says to screen readers, and to the keyboard, that this is a new page.
  if (focus) page.heading.focus();
  window.scrollTo(0, 0);
}

async function viewOf(route) {
  if (!route) return missing;
  if (route.tag && !session.may(route.tag)) return (page) => refused(page, route.tag);
  try {
    const { default: view } = await import(`./views/${route.view}.js`);
    return view;
  } catch (error) {
    return (page) => broken(page, error);
  }
}

function missing(page) {
  page.title("Not here");
  page.show(h("p", null, "There is no such page. ", h("a", { href: link([]) }, "To the overview")));
}

function refused(page, tag) {
  page.title("Not for you");
  page.show(h("p", null, `This page is for users with the tag ${tag}.`));
}

function broken(page, error) {
  page.title("Not loaded");
  page.show(h("p", { class: "fault" }, `This part of the page could not be loaded: ${error.message}`));
}

window.addEventListener("hashchange", () => show());
document.addEventListener(LOGGED_OUT, () => {
  if (around) leave();
});
begin();
