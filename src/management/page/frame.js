// What is around every view: mark, navigation, virtual host, theme, user, and the banner of alarms.

import { fill, h } from "./dom.js";
import { duration } from "./format.js";
import { replaceOptions } from "./form.js";
import { hare, icon } from "./icons.js";
import { attempt } from "./notice.js";
import { alarms, onBeat, pulse } from "./pulse.js";
import { link } from "./router.js";
import * as session from "./session.js";
import { vhostNames } from "./vhosts.js";

const PLACES = [
  ["", [["Overview", []]]],
  ["Traffic", [["Connections", ["connections"]], ["Channels", ["channels"]], ["Consumers", ["consumers"]]]],
  ["Topology", [["Queues", ["queues"]], ["Exchanges", ["exchanges"]]]],
  [
    "Admin",
    [
      ["Policies", ["admin", "policies"], "policymaker"],
      ["Users", ["admin", "users"], "administrator"],
      ["Virtual hosts", ["admin", "vhosts"], "administrator"],
      ["Limits", ["admin", "limits"], "administrator"],
      ["Definitions", ["admin", "definitions"], "administrator"],
      ["Live log", ["admin", "log"], "administrator"],
    ],
  ],
];

export function frame({ onLeave, onVhost }) {
  const ending = new AbortController();
  const links = [];
  const nav = h("nav", { id: "places", "aria-label": "Places" }, PLACES.map((group) => navGroup(group, links)));
  const main = h("main", { id: "main", tabindex: -1 });
  const banner = h("div", { class: "banner", role: "alert", hidden: true });
  const foot = h("p", { class: "nav-foot" });
  nav.append(foot);
  const menu = menuButton(nav);
  const element = h(
    "div",
    { class: "frame" },
    // Not a link: the address behind # is the router's.
    h("button", { type: "button", class: "skip", onclick: () => main.focus() }, "Skip to content"),
    h(
      "header",
      { class: "top" },
      menu,
      h("a", { class: "mark", href: link([]), "aria-label": "leveret, overview" }, hare(), h("b", null, "leveret")),
      h("span", { class: "spring" }),
      vhostChoice(onVhost),
      themeSwitch(),
      h("span", { class: "user" }, session.current().name),
      h("button", {
        type: "button",
        class: "plain icon-button",
        "aria-label": "Log out",
        title: "Log out",
        onclick: () => attempt(session.logOut).then(onLeave),
      }, icon("leave")),
    ),
    nav,
    h("div", { class: "stage" }, banner, main),
  );
  onBeat(() => tellBanner(banner, foot), ending.signal);

  return {
    element,
    show(view, parts) {
      fill(main, view);
      menu.close();
      for (const [anchor, own] of links) {
        const inside = own.length > 0 ? own.every((part, i) => part === parts[i]) : parts.length === 0;
        if (inside) anchor.setAttribute("aria-current", "page");
        else anchor.removeAttribute("aria-current");
      }
    },
    leave: () => ending.abort(),
  };
}

function navGroup([title, places], links) {
  const shown = places.filter(([, , tag]) => !tag || session.may(tag));
  if (shown.length === 0) return null;
  const items = shown.map(([text, parts]) => {
    const anchor = h("a", { href: link(parts) }, text);
    links.push([anchor, parts]);
    return h("li", null, anchor);
  });
  return [title && h("h2", null, title), h("ul", null, items)];
}

// On narrow screens the places are behind this button.
function menuButton(nav) {
  const button = h("button", { type: "button", class: "plain icon-button menu", "aria-label": "Places", "aria-controls": "places", "aria-expanded": "false" }, icon("menu"));
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    nav.classList.toggle("open", open);
  };
  button.addEventListener("click", () => {
    set(button.getAttribute("aria-expanded") !== "true");
    nav.querySelector("a").focus();
  });
  nav.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    set(false);
    button.focus();
  });
  button.close = () => set(false);
  return button;
}

function vhostChoice(onChange) {
  const choice = h("select", { "aria-label": "Virtual host", class: "vhost" });
  const show = (names) => {
    const chosen = session.vhost();
    choice.hidden = names.length < 2;
    replaceOptions(choice, [["", "All virtual hosts"], ...names.map((name) => [name, name])], chosen);
  };
  show(session.vhost() ? [session.vhost()] : []);
  vhostNames().then((names) => {
    session.countVhosts(names.length);
    if (!names.includes(session.vhost())) session.chooseVhost("");
    show(names);
  }, () => {});
  choice.addEventListener("change", () => {
    session.chooseVhost(choice.value);
    onChange();
  });
  return choice;
}

function themeSwitch() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const button = h("button", { type: "button", class: "plain icon-button" });
  const show = () => {
    const text = isDark() ? "Light colours" : "Dark colours";
    button.setAttribute("aria-label", text);
    button.title = text;
    fill(button, icon(isDark() ? "light" : "dark"));
  };
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    // What the system wants anyway is no choice, so that the page follows it again.
    if ((wanted === "dark") === system.matches) delete root.dataset.theme;
    else root.dataset.theme = wanted;
    try {
      if (root.dataset.theme) localStorage.setItem("leveret-theme", wanted);
      else localStorage.removeItem("leveret-theme");
    } catch {
      // Without storage the choice lasts until the page is loaded again.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
  return button;
}

function tellBanner(banner, foot) {
  const words = pulse.lost ? [pulse.lost] : alarms();
  const mark = words.join(" ");
  if (banner.dataset.mark !== mark) {
    banner.dataset.mark = mark;
    banner.hidden = words.length === 0;
    fill(banner, words.map((text) => h("p", null, text)));
  }
  const version = pulse.overview?.leveret_version ?? pulse.status?.version ?? "";
  const uptime = pulse.status?.uptime_ms ?? pulse.node?.uptime;
  const text = [version, uptime !== undefined && `up ${duration(uptime)}`].filter(Boolean).join(" · ");
  if (foot.textContent !== text) foot.textContent = text;
}
