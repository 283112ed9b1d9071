// What users may do in virtual hosts: cards for the views of both.

import * as api from "../api.js";
import { h } from "../dom.js";
import { NOTHING } from "../format.js";
import { button, confirmDialog, field, formDialog, select, textInput } from "../form.js";
import { done } from "../notice.js";
import { cardWith, to, vhostLink } from "../parts.js";
import { Table } from "../table.js";
import { vhostField } from "../vhosts.js";

const HINT = "A regular expression over names; empty for nothing, .* for everything.";
const pattern = (text) => (text === "" ? h("span", { class: "dim" }, "nothing") : h("code", null, text));

/** Either `user` or `vhost` is what the view is about; the table tells the other. */
export function permissionsCard({ user, vhost, after }) {
  const other = otherColumn(user);
  const table = new Table({
    caption: "Permissions",
    key: (row) => `${row.user} ${row.vhost}`,
    empty: user ? "This user may not enter any virtual host." : "Nobody may enter.",
    columns: [
      other,
      ...["configure", "write", "read"].map((right) => ({ title: title(right), value: (row) => row[right], render: (row) => pattern(row[right]) })),
      {
        title: "Action",
        act: true,
        value: (row) => [row.configure, row.write, row.read],
        render: (row) => [
          small("Change …", `Change permissions of ${row.user} in ${row.vhost}`, () => setDialog({ user, vhost, row, after })),
          small("Clear …", `Clear permissions of ${row.user} in ${row.vhost}`, () =>
            clear(`${row.user} may no longer enter ${row.vhost}.`, api.url("permissions", row.vhost, row.user), after)),
        ],
      },
    ],
  });
  const set = button("Set permissions …", () => setDialog({ user, vhost, after }));
  return { element: cardWith("Permissions", set, table.element), tell: (rows) => table.update(rows) };
}

export function topicPermissionsCard({ user, vhost, after }) {
  const table = new Table({
    caption: "Topic permissions",
    key: (row) => `${row.user} ${row.vhost} ${row.exchange}`,
    empty: "None: routing keys are not looked at.",
    columns: [
      otherColumn(user),
      { title: "Exchange", value: (row) => row.exchange || NOTHING },
      { title: "Write", value: (row) => row.write, render: (row) => pattern(row.write) },
      { title: "Read", value: (row) => row.read, render: (row) => pattern(row.read) },
      {
        title: "Action",
        act: true,
        value: (row) => row.exchange,
        render: (row) =>
          small("Clear …", `Clear topic permissions of ${row.user} on ${row.exchange}`, () =>
            clear(`Routing keys of ${row.user} on ${row.exchange} are no longer looked at.`, api.url("topic-permissions", row.vhost, row.user, row.exchange), after)),
      },
    ],
  });
  const set = button("Set topic permissions …", () => topicDialog({ user, vhost, after }));
  return { element: cardWith("Topic permissions", set, table.element), tell: (rows) => table.update(rows) };
}

function otherColumn(user) {
  if (user) return { title: "Virtual host", wide: true, value: (row) => row.vhost, render: (row) => vhostLink(row.vhost) };
  return { title: "User", wide: true, value: (row) => row.user, render: (row) => to(["admin", "users", row.user], row.user) };
}

/** The field for whichever of user and virtual host the view is not about. */
async function otherField(user) {
  if (user) return vhostField();
  const names = (await api.get("api/users")).map(({ name }) => name);
  return field("User", select("user", names, names[0]));
}

async function setDialog({ user, vhost, row, after }) {
  const fixed = row ?? { user, vhost };
  formDialog({
    title: row ? `Permissions of ${row.user} in ${row.vhost}` : `Permissions ${user ? `of ${user}` : `in ${vhost}`}`,
    action: "Set permissions",
    body: [
      row ? null : await otherField(user),
      field("Configure", textInput("configure", row?.configure ?? ".*"), `Declare and delete. ${HINT}`),
      field("Write", textInput("write", row?.write ?? ".*"), "Publish and bind."),
      field("Read", textInput("read", row?.read ?? ".*"), "Consume, get, purge, bind from."),
    ],
    submit: async (values) => {
      const address = api.url("permissions", fixed.vhost ?? values.vhost, fixed.user ?? values.user);
      await api.put(address, { configure: values.configure, write: values.write, read: values.read });
      done("Permissions are set.");
      after();
    },
  });
}

async function topicDialog({ user, vhost, after }) {
  formDialog({
    title: `Topic permissions ${user ? `of ${user}` : `in ${vhost}`}`,
    action: "Set topic permissions",
    body: [
      await otherField(user),
      field("Exchange", textInput("exchange", "amq.topic", { required: true })),
      field("Write", textInput("write", ".*"), "Routing keys to publish with, as a regular expression."),
      field("Read", textInput("read", ".*"), "Routing keys to bind with."),
    ],
    submit: async (values) => {
      const address = api.url("topic-permissions", vhost ?? values.vhost, user ?? values.user);
      await api.put(address, { exchange: values.exchange, write: values.write, read: values.read });
      done("Topic permissions are set.");
      after();
    },
  });
}

function clear(text, address, after) {
  confirmDialog({
    title: "Clear permissions?",
    text,
    action: "Clear",
    submit: async () => {
      await api.remove(address);
      done("Permissions are cleared.");
      after();
    },
  });
}

const small = (text, label, onclick) => h("button", { type: "button", class: "small", "aria-label": label, onclick }, text);
const title = (word) => word[0].toUpperCase() + word.slice(1);
