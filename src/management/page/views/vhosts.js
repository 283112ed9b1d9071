// Virtual hosts: brokers within the broker.

import * as api from "../api.js";
import { count, plain, yesNo } from "../format.js";
import { button, field, formDialog, pair, select, textInput } from "../form.js";
import { list } from "../list.js";
import { done } from "../notice.js";
import { badge, vhostLink } from "../parts.js";
import { link } from "../router.js";

export default function vhosts(page) {
  page.title("Virtual hosts");
  const view = list(page, {
    address: () => "api/vhosts",
    paged: false,
    text: ({ name }) => name,
    what: "virtual hosts",
    caption: "Virtual hosts",
    empty: "There is no virtual host.",
    key: ({ name }) => name,
    columns: [
      { title: "Name", sort: "name", wide: true, value: ({ name }) => name, render: ({ name }) => vhostLink(name) },
      { title: "Description", rank: 2, wide: true, value: (row) => row.description || row.metadata?.description },
      { title: "Tags", rank: 3, value: (row) => row.tags ?? [], render: (row) => (row.tags ?? []).map((tag) => badge(tag)) },
      { title: "Default type", rank: 3, value: (row) => typeOf(row) },
      { title: "Tracing", rank: 3, value: ({ tracing }) => yesNo(tracing) },
      { title: "Protected", rank: 3, value: (row) => yesNo(row.protected_from_deletion ?? row.metadata?.protected_from_deletion) },
      { title: "Ready", sort: "messages_ready", number: true, value: (row) => count(row.messages_ready ?? 0) },
      { title: "Unacked", sort: "messages_unacknowledged", number: true, value: (row) => count(row.messages_unacknowledged ?? 0) },
    ],
  });
  page.actions.append(button("Add virtual host …", () => addDialog(view.refresh), "primary"));
  page.show(view.element);
}

/** The type that queues get when they name none. */
export const typeOf = ({ default_queue_type: type }) => plain(type === "undefined" ? null : type);

function addDialog(refresh) {
  formDialog({
    title: "Add virtual host",
    action: "Add virtual host",
    body: [field("Name", textInput("name", "", { required: true })), ...metadataFields({})],
    submit: async (values) => {
      await api.put(api.url("vhosts", values.name), metadataFrom(values));
      done(`Virtual host ${values.name} is there. You may enter it; others need permissions.`);
      location.hash = link(["admin", "vhosts", values.name]);
      refresh();
    },
  });
}

export function metadataFields(own) {
  const type = own.default_queue_type === "undefined" ? "" : (own.default_queue_type ?? "");
  return [
    field("Description", textInput("description", own.description ?? "")),
    pair(
      field("Tags", textInput("tags", (own.tags ?? []).join(", ")), "Separated by commas."),
      field("Default queue type", select("default_queue_type", [["", "classic"], ["classic", "classic, said so"], ["quorum", "quorum"], ["stream", "stream"]], type)),
    ),
  ];
}

export function metadataFrom(values) {
  const body = { description: values.description, tags: values.tags.split(",").map((tag) => tag.trim()).filter(Boolean).join(",") };
  if (values.default_queue_type) body.default_queue_type = values.default_queue_type;
  return body;
}
