// All exchanges and what goes through them.

import * as api from "../api.js";
import { argumentEditor } from "../arguments.js";
import { EXCHANGE_ARGUMENTS, EXCHANGE_TYPES } from "../catalogue.js";
import { rate } from "../format.js";
import { button, check, field, formDialog, pair, select, textInput } from "../form.js";
import { list } from "../list.js";
import { attempt, done } from "../notice.js";
import { exchangeLink, featureMark, features, named } from "../parts.js";
import { pulse } from "../pulse.js";
import { link } from "../router.js";
import { rateOf } from "../samples.js";
import { vhost } from "../session.js";
import { vhostField } from "../vhosts.js";

const statRate = (name) => (row) => rate(rateOf(row.message_stats, name));

export default function exchanges(page) {
  page.title("Exchanges");
  const view = list(page, {
    address: () => (vhost() ? api.url("exchanges", vhost()) : "api/exchanges"),
    paged: true,
    what: "exchanges",
    caption: "Exchanges",
    empty: "There is no exchange.",
    key: ({ vhost: host, name }) => `${host} ${name}`,
    columns: [
      {
        title: "Name",
        sort: "name",
        wide: true,
        value: (row) => [row.name, row.vhost],
        render: (row) => named(exchangeLink(row.vhost, row.name), row.vhost),
      },
      { title: "Type", sort: "type", value: ({ type }) => type },
      { title: "Features", rank: 2, value: featureMark, render: (row) => features({ ...row, type: undefined }) },
      { title: "In", sort: "message_stats.publish_in_details.rate", number: true, value: statRate("publish_in") },
      { title: "Out", sort: "message_stats.publish_out_details.rate", number: true, value: statRate("publish_out") },
    ],
  });
  page.actions.append(button("Add exchange …", () => attempt(() => addDialog(view.refresh)), "primary"));
  page.show(view.element);
}

async function addDialog(refresh) {
  const host = await vhostField();
  const editor = argumentEditor({ legend: "Arguments", catalogue: EXCHANGE_ARGUMENTS });
  const told = (pulse.overview?.exchange_types ?? []).map(({ name }) => name);
  formDialog({
    title: "Add exchange",
    wide: true,
    action: "Add exchange",
    body: [
      pair(field("Name", textInput("name", "", { required: true, maxlength: 255 })), host),
      pair(
        field("Type", select("type", told.length > 0 ? told : EXCHANGE_TYPES, "direct")),
        field("Durability", select("durable", [["true", "durable"], ["false", "transient"]], "true"), "A transient one is gone after a restart."),
      ),
      check("auto_delete", "Delete when the last binding is gone"),
      check("internal", "Internal: nobody publishes to it, only other exchanges"),
      editor.element,
    ],
    submit: async (values) => {
      await api.put(api.url("exchanges", values.vhost, values.name), {
        type: values.type,
        durable: values.durable === "true",
        auto_delete: values.auto_delete,
        internal: values.internal,
        arguments: editor.read(),
      });
      done(`Exchange ${values.name} is there.`);
      location.hash = link(["exchanges", values.vhost, values.name]);
      refresh();
    },
  });
}
