// Starts the page: who is it, then the frame around the views, and the view that the address names.

import { LOGGED_OUT } from "./api.js";
import { fill, h } from "./dom.js";
import { frame } from "./frame.js";
import * as notice from "./notice.js";
import { Page } from "./page.js";
import * as pulse from "./pulse.js";
import { here, link, match } from "./router.js";
import * as session from "./session.js";
import channel from "./views/channel.js";
import channels from "./views/channels.js";
import connection from "./views/connection.js";
import connections from "./views/connections.js";
import consumers from "./views/consumers.js";
import definitions from "./views/definitions.js";
import exchange from "./views/exchange.js";
import exchanges from "./views/exchanges.js";
import limits from "./views/limits.js";
import log from "./views/log.js";
import login from "./views/login.js";
import overview from "./views/overview.js";
import policies from "./views/policies.js";
import queue from "./views/queue.js";
import queues from "./views/queues.js";
import user from "./views/user.js";
import users from "./views/users.js";
import vhost from "./views/vhost.js";
import vhosts from "./views/vhosts.js";

const ROUTES = [
  { pattern: [], view: overview },
  { pattern: ["connections"], view: connections },
  { pattern: ["connections", ":name"], view: connection },
  { pattern: ["channels"], view: channels },
  { pattern: ["channels", ":name"], view: channel },
  { pattern: ["consumers"], view: consumers },
  { pattern: ["exchanges"], view: exchanges },
  { pattern: ["exchanges", ":vhost", ":name"], view: exchange },
  { pattern: ["queues"], view: queues },
  { pattern: ["queues", ":vhost", ":name"], view: queue },
  { pattern: ["admin", "policies"], view: policies, tag: "policymaker" },
  { pattern: ["admin", "users"], view: users, tag: "administrator" },
  { pattern: ["admin", "users", ":name"], view: user, tag: "administrator" },
  { pattern: ["admin", "vhosts"], view: vhosts, tag: "administrator" },
  { pattern: ["admin", "vhosts", ":name"], view: vhost, tag: "administrator" },
  { pattern: ["admin", "limits"], view: limits, tag: "administrator" },
  { pattern: ["admin", "definitions"], view: definitions, tag: "administrator" },
  { pattern: ["admin", "log"], view: log, tag: "administrator" },
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

function show({ focus = true } = {}) {
  if (!around) return;
  shown?.leave();
  const { parts, query } = here();
  const found = match(ROUTES, parts);
  shown = new Page(found?.params ?? {}, query);
  if (!found) missing(shown);
  else if (found.route.tag && !session.may(found.route.tag)) refused(shown, found.route.tag);
  else found.route.view(shown);
  around.show(shown.element, parts);
  // Says to screen readers, and to the keyboard, that this is a new page.
  if (focus) shown.heading.focus();
  window.scrollTo(0, 0);
}

function missing(page) {
  page.title("Not here");
  page.show(h("p", null, "There is no such page. ", h("a", { href: link([]) }, "To the overview")));
}

function refused(page, tag) {
  page.title("Not for you");
  page.show(h("p", null, `This page is for users with the tag ${tag}.`));
}

window.addEventListener("hashchange", () => show());
document.addEventListener(LOGGED_OUT, () => {
  if (around) leave();
});
begin();
