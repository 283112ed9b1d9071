// The small parts that views are made of.

import { fill, h, hidden } from "./dom.js";
import { NOTHING, moment, plain } from "./format.js";
import { link } from "./router.js";
import { severalVhosts, vhost } from "./session.js";

/** A link to a queue, an exchange, …, by the parts of its address. */
export const to = (parts, text) => h("a", { href: link(parts) }, text);

export const queueLink = (host, name) => to(["queues", host, name], name);
export const exchangeLink = (host, name) => to(["exchanges", host, name], name === "" ? "(default)" : name);
export const vhostLink = (name) => to(["admin", "vhosts", name], name);

/** A name, with its virtual host where the list shows several. */
export function named(anchor, host) {
  return vhost() || !severalVhosts() ? anchor : [anchor, h("span", { class: "beside" }, hidden(" in virtual host "), host)];
}

/** The virtual host beside the title of a view. */
export const hostMark = (host) => (severalVhosts() ? h("span", { class: "beside" }, hidden("virtual host "), host) : []);

/** A word in a box; `hint` says in full what it stands for. */
export const badge = (text, hint, kind = "") => h("span", { class: `badge ${kind}`, title: hint }, text);

/** A state with a dot. Only the unusual ones have a colour, and all have the word. */
export function state(text) {
  const kind = { running: "good", up: "good", flow: "warn", blocked: "warn", blocking: "warn", idle: "calm" }[text] ?? "calm";
  return h("span", { class: `state ${kind}` }, text ?? NOTHING);
}

export const card = (title, ...content) => h("section", { class: "card" }, title && h("h2", null, title), content);

/** A card with a button or more beside its title. */
export const cardWith = (title, actions, ...content) =>
  h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", null, title), h("div", { class: "actions" }, actions)), content);

export const grid = (kind, ...content) => h("div", { class: `grid ${kind}` }, content);

/** Names and values that can be told anew: `facts([["Name", "value"], …])`. */
export function facts(rows) {
  const list = h("dl", { class: "facts" });
  tellFacts(list, rows);
  return list;
}

export function tellFacts(list, rows) {
  const given = rows.filter(([, value]) => value !== undefined);
  const mark = JSON.stringify(given.map(([name, value]) => [name, value instanceof Node ? value.outerHTML : value]));
  if (list.dataset.mark === mark) return;
  list.dataset.mark = mark;
  fill(list, given.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value instanceof Node ? value : plain(value)))));
}

/** A row of large numbers: `{label, href}` by key, told by `tell({key: text})`. */
export function figures(definitions) {
  const values = new Map();
  const items = Object.entries(definitions).map(([key, { label, href }]) => {
    const value = h("b", null, NOTHING);
    values.set(key, value);
    const inside = [h("span", null, label), value];
    return h("li", null, href ? h("a", { href }, inside) : h("div", null, inside));
  });
  return {
    element: h("ul", { class: "figures" }, items),
    tell(texts) {
      for (const [key, text] of Object.entries(texts)) {
        const value = values.get(key);
        if (value && value.textContent !== text) value.textContent = text;
      }
    },
  };
}

/** Argument tables as `name value` pairs. */
export function pairs(table) {
  const entries = Object.entries(table ?? {});
  if (entries.length === 0) return h("span", { class: "dim" }, "none");
  return h("ul", { class: "pairs" }, entries.map(([name, value]) => h("li", null, h("span", null, name), " ", h("b", null, plain(value)))));
}

const SHORT = {
  "x-message-ttl": ["TTL", "Messages expire"],
  "x-expires": ["Exp", "The queue expires when unused"],
  "x-max-length": ["Lim", "At most so many messages"],
  "x-max-length-bytes": ["LimB", "At most so many bytes"],
  "x-dead-letter-exchange": ["DLX", "Dead letters go to"],
  "x-max-priority": ["Pri", "Priorities up to"],
  "x-single-active-consumer": ["SAC", "One consumer at a time"],
  "x-delivery-limit": ["DL", "At most so many deliveries"],
  "x-group-key": ["Grp", "Ordered message groups by"],
  "x-message-deduplication": ["Dedup", "Drops duplicates"],
  "x-delayed-retry-type": ["Retry", "Delayed retry"],
  "alternate-exchange": ["AE", "What no binding wants goes to"],
};

/** What a queue or an exchange is, in badges. */
export function features(thing) {
  const own = [];
  if (thing.type && thing.type !== "classic") own.push(badge(thing.type, "Type"));
  own.push(thing.durable ? badge("D", "Durable: survives a restart") : badge("transient", "Gone after a restart"));
  if (thing.auto_delete) own.push(badge("AD", "Deleted when the last user is gone"));
  if (thing.exclusive) own.push(badge("Excl", "For one connection only"));
  if (thing.internal) own.push(badge("I", "Internal: nobody publishes to it"));
  for (const [name, value] of Object.entries(thing.arguments ?? {})) {
    if (name === "x-queue-type") continue;
    const [word, hint] = SHORT[name] ?? [name, name];
    own.push(badge(word, `${hint}: ${plain(value)}`));
  }
  if (thing.policy) own.push(badge(thing.policy, `Policy ${thing.policy}`, "policy"));
  if (thing.operator_policy) own.push(badge(thing.operator_policy, `Operator policy ${thing.operator_policy}`, "policy"));
  return h("span", { class: "badges" }, own);
}

/** For `value` of a column that shows features: what they depend on. */
export const featureMark = (thing) => [thing.type, thing.durable, thing.auto_delete, thing.exclusive, thing.arguments, thing.policy, thing.operator_policy];

/** The second view of something: links beside each other, the one that is shown marked. */
export function tabs(label, entries, shown) {
  return h(
    "nav",
    { class: "tabs", "aria-label": label },
    entries.map(([key, text, href]) => h("a", { href, "aria-current": key === shown ? "page" : null }, text)),
  );
}

export const when = (value) => h("time", { datetime: iso(value) }, moment(value));

function iso(value) {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
