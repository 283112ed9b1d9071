// All queues: how long they are and how fast they move.

import * as api from "../api.js";
import { argumentEditor } from "../arguments.js";
import { QUEUE_ARGUMENTS } from "../catalogue.js";
import { bytes, count, rate } from "../format.js";
import { button, check, field, formDialog, pair, select, textInput } from "../form.js";
import { list } from "../list.js";
import { attempt, done } from "../notice.js";
import { featureMark, features, named, queueLink, state } from "../parts.js";
import { link } from "../router.js";
import { rateOf } from "../samples.js";
import { vhost } from "../session.js";
import { vhostField } from "../vhosts.js";

const statRate = (name) => (row) => rate(rateOf(row.message_stats, name));

export default function queues(page) {
  page.title("Queues");
  const view = list(page, {
    address: () => (vhost() ? api.url("queues", vhost()) : "api/queues"),
    paged: true,
    what: "queues",
    caption: "Queues",
    empty: "There is no queue yet.",
    key: ({ vhost: host, name }) => `${host} ${name}`,
    columns: [
      {
        title: "Name",
        sort: "name",
        wide: true,
        value: (row) => [row.name, row.vhost],
        render: (row) => named(queueLink(row.vhost, row.name), row.vhost),
      },
      { title: "Features", rank: 2, value: featureMark, render: features },
      { title: "State", sort: "state", rank: 3, value: (row) => row.state, render: (row) => state(row.state) },
      { title: "Ready", sort: "messages_ready", number: true, value: (row) => count(row.messages_ready) },
      { title: "Unacked", sort: "messages_unacknowledged", number: true, value: (row) => count(row.messages_unacknowledged) },
      { title: "Size", sort: "message_bytes", number: true, rank: 3, value: (row) => bytes(row.message_bytes) },
      { title: "In", sort: "message_stats.publish_details.rate", number: true, value: statRate("publish") },
      { title: "Out", sort: "message_stats.deliver_get_details.rate", number: true, rank: 2, value: statRate("deliver_get") },
      { title: "Ack", sort: "message_stats.ack_details.rate", number: true, rank: 3, value: statRate("ack") },
      { title: "Consumers", sort: "consumers", number: true, rank: 2, value: (row) => count(row.consumers) },
    ],
  });
  page.actions.append(button("Add queue …", () => attempt(() => addDialog(view.refresh)), "primary"));
  page.show(view.element);
}

async function addDialog(refresh) {
  const host = await vhostField();
  const editor = argumentEditor({ legend: "Arguments", catalogue: QUEUE_ARGUMENTS });
  formDialog({
    title: "Add queue",
    wide: true,
    action: "Add queue",
    body: [
      pair(field("Name", textInput("name", "", { required: true, maxlength: 255 })), host),
      pair(
        field("Type", select("type", ["classic", "quorum", "stream"], "classic"), "Quorum and stream are taken where the broker has them."),
        field("Durability", select("durable", [["true", "durable"], ["false", "transient"]], "true"), "A transient one is gone after a restart."),
      ),
      check("auto_delete", "Delete when the last consumer is gone"),
      editor.element,
    ],
    submit: async (values) => {
      const table = editor.read();
      if (values.type !== "classic") table["x-queue-type"] = values.type;
      await api.put(api.url("queues", values.vhost, values.name), {
        durable: values.durable === "true",
        auto_delete: values.auto_delete,
        arguments: table,
      });
      done(`Queue ${values.name} is there.`);
      location.hash = link(["queues", values.vhost, values.name]);
      refresh();
    },
  });
}
