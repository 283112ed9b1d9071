// Limits of users and virtual hosts: all of them in one view, and a card for the views of each.

import * as api from "../api.js";
import { USER_LIMITS, VHOST_LIMITS } from "../catalogue.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import { button, confirmDialog, field, formDialog, numberInput, select } from "../form.js";
import { attempt, done } from "../notice.js";
import { watch } from "../page.js";
import { cardWith, to, vhostLink } from "../parts.js";
import { Table } from "../table.js";
import { vhostNames } from "../vhosts.js";

const KIND = {
  user: { of: "a user", names: USER_LIMITS, path: "user-limits", all: async () => (await api.get("api/users")).map(({ name }) => name) },
  vhost: { of: "a virtual host", names: VHOST_LIMITS, path: "vhost-limits", all: vhostNames },
};

export default function limits(page) {
  page.title("Limits");
  const reload = () => turn.now();
  const vhosts = allCard("vhost", "Virtual hosts", reload);
  const users = allCard("user", "Users", reload);
  page.show(vhosts.element, users.element);
  const load = () => Promise.all([api.get("api/vhost-limits", page.signal), api.getIfAny("api/user-limits", page.signal)]);
  const turn = watch(page, 5, load, ([ofVhosts, ofUsers]) => {
    vhosts.tell(ofVhosts);
    users.tell(ofUsers ?? []);
  });
}

/** The limits of one user or virtual host. */
export function limitsCard({ kind, name, after }) {
  const table = limitTable(KIND[kind].names, [], (limit) => clear(kind, name, limit, after));
  const set = button("Set limit …", () => attempt(() => setDialog(kind, name, after)));
  return {
    element: cardWith("Limits", set, table.element),
    tell: (value) => table.update(rowsOf(name, value)),
  };
}

function allCard(kind, title, after) {
  const path = kind === "user" ? (name) => to(["admin", "users", name], name) : vhostLink;
  const column = { title: kind === "user" ? "User" : "Virtual host", wide: true, value: ({ name }) => name, render: ({ name }) => path(name) };
  const table = limitTable(KIND[kind].names, [column], (limit, name) => clear(kind, name, limit, after));
  const set = button("Set limit …", () => attempt(() => setDialog(kind, null, after)));
  return {
    element: cardWith(title, set, table.element),
    tell: (all) => table.update(all.flatMap((one) => rowsOf(one[kind], one.value))),
  };
}

function limitTable(names, before, onClear) {
  const words = new Map(names);
  return new Table({
    caption: "Limits",
    key: ({ name, limit }) => `${name} ${limit}`,
    empty: "No limit is set.",
    columns: [
      ...before,
      { title: "Limit", value: ({ limit }) => words.get(limit) ?? limit },
      { title: "At most", number: true, value: ({ value }) => (value < 0 ? "no limit" : count(value)) },
      {
        title: "Action",
        act: true,
        value: ({ limit }) => limit,
        render: ({ name, limit }) =>
          h("button", { type: "button", class: "small", "aria-label": `Clear ${limit} of ${name}`, onclick: () => onClear(limit, name) }, "Clear …"),
      },
    ],
  });
}

// An empty table comes as a list.
function rowsOf(name, value) {
  return Array.isArray(value) ? [] : Object.entries(value).map(([limit, number]) => ({ name, limit, value: number }));
}

async function setDialog(kind, name, after) {
  const { of, names, path, all } = KIND[kind];
  const who = name === null ? await all() : null;
  formDialog({
    title: `Limit of ${name ?? of}`,
    action: "Set limit",
    body: [
      who && field(kind === "user" ? "User" : "Virtual host", select("name", who, who[0])),
      field("Limit", select("limit", names, names[0][0])),
      field("At most", numberInput("value", "", { required: true, min: -1 }), "−1 for no limit."),
    ],
    submit: async (values) => {
      await api.put(api.url(path, name ?? values.name, values.limit), { value: Number(values.value) });
      done("The limit is set.");
      after();
    },
  });
}

function clear(kind, name, limit, after) {
  confirmDialog({
    title: "Clear this limit?",
    text: `${name} is no longer limited in ${limit}.`,
    action: "Clear",
    submit: async () => {
      await api.remove(api.url(KIND[kind].path, name, limit));
      done("The limit is cleared.");
      after();
    },
  });
}
