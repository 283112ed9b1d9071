// Bindings of a queue or an exchange, in both directions, with a form to add one.

import * as api from "../api.js";
import { argumentEditor } from "../arguments.js";
import { BINDING_ARGUMENTS } from "../catalogue.js";
import { h } from "../dom.js";
import { plain } from "../format.js";
import { button, confirmDialog, field, formDialog, pair, select, textInput } from "../form.js";
import { done } from "../notice.js";
import { cardWith, exchangeLink, pairs, queueLink } from "../parts.js";
import { Table } from "../table.js";

const END = {
  queue: { path: "q", link: queueLink },
  exchange: { path: "e", link: exchangeLink },
};

/** `kind` is queue or exchange. Exchanges have bindings from them, too. */
export function bindingsOf(page, { vhost, kind, name }) {
  const into = new Table(options("Bindings to it", "Nothing is bound to it.", "source", reload));
  const outOf = new Table(options("Bindings from it", "It is bound to nothing: what is published to it is dropped.", "destination", reload));
  const plural = kind === "queue" ? "queues" : "exchanges";
  const part = async (way, table) => {
    const address = way ? api.url(plural, vhost, name, "bindings", way) : api.url(plural, vhost, name, "bindings");
    table.update(await api.get(address, page.signal));
  };
  const load = async () => {
    try {
      if (kind === "queue") await part(null, into);
      else await Promise.all([part("destination", into), part("source", outOf)]);
    } catch (error) {
      // Why is said above, by who watches the queue or the exchange.
      if (error.name !== "AbortError") into.say(error.message);
    }
  };
  const turn = page.every(5, load);
  function reload() {
    turn.now();
  }
  const here = { vhost, kind, name, after: reload };
  const add = (way) => button("Bind …", () => bindDialog(here, way));
  const defaultOne = kind === "exchange" && name === "";
  const cards = [
    kind === "exchange" && cardWith("Bindings from it", defaultOne ? [] : add("from"), outOf.element),
    !defaultOne && cardWith("Bindings to it", add("to"), into.element),
  ];
  return { element: h("div", { class: "content" }, cards), reload };
}

function options(caption, empty, end, after) {
  return {
    caption,
    empty,
    key: (row) => `${row.source} ${row.destination_type} ${row.destination} ${row.properties_key}`,
    columns: [
      {
        title: end === "source" ? "From exchange" : "To",
        wide: true,
        value: (row) => [row[end], row.destination_type],
        render: (row) => endOf(row, end),
      },
      { title: "Routing key", wide: true, value: (row) => row.routing_key, render: (row) => h("code", null, plain(row.routing_key)) },
      { title: "Arguments", rank: 2, value: (row) => row.arguments, render: (row) => pairs(row.arguments) },
      { title: "Action", act: true, value: (row) => row.properties_key, render: (row) => (row.source === "" ? "" : unbindButton(row, after)) },
    ],
  };
}

function endOf(row, end) {
  if (end === "source") return exchangeLink(row.vhost, row.source);
  const anchor = END[row.destination_type].link(row.vhost, row.destination);
  return [anchor, h("span", { class: "beside" }, row.destination_type)];
}

function unbindButton(row, after) {
  const label = `Unbind ${row.destination} from ${row.source}, key ${row.routing_key}`;
  const ask = () =>
    confirmDialog({
      title: "Unbind?",
      text: `${row.destination_type} ${row.destination} gets no more messages of exchange ${row.source} with routing key “${row.routing_key}”.`,
      action: "Unbind",
      submit: async () => {
        await api.remove(api.url("bindings", row.vhost, "e", row.source, END[row.destination_type].path, row.destination, row.properties_key));
        done("Unbound.");
        after();
      },
    });
  return h("button", { type: "button", class: "small", "aria-label": label, onclick: ask }, "Unbind …");
}

/** `way`: to this queue or exchange, or from this exchange. */
function bindDialog({ vhost, kind, name, after }, way) {
  const editor = argumentEditor({ legend: "Arguments", catalogue: BINDING_ARGUMENTS });
  const other = way === "to"
    ? field("From exchange", textInput("other", "", { required: true }))
    : pair(
        field("To", select("kind", ["queue", "exchange"], "queue")),
        field("Its name", textInput("other", "", { required: true })),
      );
  formDialog({
    title: way === "to" ? `Bind ${name} to an exchange` : `Bind to exchange ${name}`,
    action: "Bind",
    body: [other, field("Routing key", textInput("routing_key")), editor.element],
    submit: async (values) => {
      const [source, target, type] = way === "to" ? [values.other, name, kind] : [name, values.other, values.kind];
      await api.post(api.url("bindings", vhost, "e", source, END[type].path, target), {
        routing_key: values.routing_key,
        arguments: editor.read(),
      });
      done("Bound.");
      after();
    },
  });
}
