// Policies and operator policies: settings for all queues and exchanges whose names fit.

import * as api from "../api.js";
import { argumentEditor } from "../arguments.js";
import { OPERATOR_KEYS, POLICY_KEYS } from "../catalogue.js";
import { h } from "../dom.js";
import { button, confirmDialog, field, formDialog, numberInput, pair, select, textInput } from "../form.js";
import { attempt, done } from "../notice.js";
import { watch } from "../page.js";
import { cardWith, named, pairs } from "../parts.js";
import { may, vhost } from "../session.js";
import { Table } from "../table.js";
import { vhostField } from "../vhosts.js";

const KIND = {
  policies: { title: "Policies", word: "policy", keys: POLICY_KEYS, applies: ["all", "queues", "exchanges", "classic_queues", "quorum_queues", "streams"] },
  "operator-policies": { title: "Operator policies", word: "operator policy", keys: OPERATOR_KEYS, applies: ["queues", "classic_queues", "quorum_queues", "streams"] },
};

export default function policies(page) {
  page.title("Policies");
  const reload = () => turn.now();
  const kinds = Object.keys(KIND);
  const cards = kinds.map((kind) => policyCard(kind, reload));
  page.show(h("p", { class: "hint" }, "Of the policies whose pattern fits a name, the one of the highest priority counts. An operator policy beside it can only be stricter."), cards.map(({ element }) => element));
  const load = () => Promise.all(kinds.map((kind) => api.getIfAny(vhost() ? api.url(kind, vhost()) : `api/${kind}`, page.signal)));
  const turn = watch(page, 5, load, (answers) => {
    for (const [index, rows] of answers.entries()) cards[index].tell(rows ?? []);
  });
}

function policyCard(kind, after) {
  const { title, word } = KIND[kind];
  // Operator policies bind policymakers, too.
  const mayChange = kind === "policies" || may("administrator");
  const table = new Table({
    caption: title,
    key: (row) => `${row.vhost} ${row.name}`,
    empty: `There is no ${word}.`,
    columns: [
      { title: "Name", wide: true, value: (row) => [row.name, row.vhost], render: (row) => named(row.name, row.vhost) },
      { title: "Pattern", value: (row) => row.pattern, render: (row) => h("code", null, row.pattern) },
      { title: "Applies to", rank: 2, value: (row) => row["apply-to"] },
      { title: "Sets", value: (row) => row.definition, render: (row) => pairs(row.definition) },
      { title: "Priority", number: true, rank: 2, value: (row) => row.priority },
      mayChange && {
        title: "Action",
        act: true,
        value: (row) => row,
        render: (row) => [
          h("button", { type: "button", class: "small", "aria-label": `Change ${row.name}`, onclick: () => editDialog(kind, row, after) }, "Change …"),
          h("button", { type: "button", class: "small", "aria-label": `Delete ${row.name}`, onclick: () => remove(kind, row, after) }, "Delete …"),
        ],
      },
    ].filter(Boolean),
  });
  const add = mayChange ? button(`Add ${word} …`, () => attempt(() => editDialog(kind, null, after))) : [];
  return { element: cardWith(title, add, table.element), tell: (rows) => table.update(rows) };
}

async function editDialog(kind, row, after) {
  const { word, keys, applies } = KIND[kind];
  const editor = argumentEditor({ legend: "Sets", catalogue: keys, start: row?.definition ?? {}, addLabel: "Add a setting …" });
  const host = row ? null : await vhostField();
  formDialog({
    title: row ? `Change ${word} ${row.name}` : `Add ${word}`,
    wide: true,
    action: row ? "Change" : "Add",
    body: [
      row ? null : pair(field("Name", textInput("name", "", { required: true })), host),
      field("Pattern", textInput("pattern", row?.pattern ?? "^", { required: true }), "A regular expression that is looked for in names: ^orders\\. for all that begin with orders."),
      pair(
        field("Applies to", select("apply-to", applies, row?.["apply-to"] ?? applies[0])),
        field("Priority", numberInput("priority", String(row?.priority ?? 0), { required: true })),
      ),
      editor.element,
    ],
    submit: async (values) => {
      const definition = editor.read();
      if (Object.keys(definition).length === 0) throw new Error("It has to set something.");
      await api.put(api.url(kind, row?.vhost ?? values.vhost, row?.name ?? values.name), {
        pattern: values.pattern,
        "apply-to": values["apply-to"],
        priority: Number(values.priority),
        definition,
      });
      done(`The ${word} is set.`);
      after();
    },
  });
}

function remove(kind, row, after) {
  const { word } = KIND[kind];
  confirmDialog({
    title: `Delete ${word} ${row.name}?`,
    text: `Queues and exchanges of ${row.vhost} that it applied to get what the next one says, if there is one.`,
    action: "Delete",
    submit: async () => {
      await api.remove(api.url(kind, row.vhost, row.name));
      done(`The ${word} is deleted.`);
      after();
    },
  });
}
