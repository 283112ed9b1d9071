// The form that publishes a message, for queues (by the default exchange) and exchanges.

import * as api from "./api.js";
import { argumentEditor } from "./arguments.js";
import { h } from "./dom.js";
import { check, field, formDialog, pair, select, textInput } from "./form.js";
import { done } from "./notice.js";

const TEXTS = [
  ["content_type", "Content type"], ["content_encoding", "Content encoding"], ["message_id", "Message id"],
  ["correlation_id", "Correlation id"], ["reply_to", "Reply to"], ["expiration", "Expiration", "Milliseconds."],
  ["type", "Type"], ["app_id", "Application"], ["user_id", "User"],
];

/** `exchange` and `routingKey` are where it goes; `fixed` when the key may not be changed. */
export function publishDialog({ vhost, exchange, routingKey = "", fixed = false, after }) {
  const headers = argumentEditor({ legend: "Headers", addLabel: "Add a header" });
  const payload = h("textarea", { name: "payload", rows: 7, spellcheck: "false" });
  const body = [
    !fixed && field("Routing key", textInput("routing_key", routingKey)),
    field("Payload", payload),
    pair(
      field("Payload is", select("payload_encoding", [["string", "text"], ["base64", "Base64"]], "string")),
      field("Priority", h("input", { name: "priority", type: "number", min: 0, max: 255 })),
    ),
    check("persistent", "Persistent: survives a restart in a durable queue", true),
    headers.element,
    h("details", null, h("summary", null, "Properties"), h("div", { class: "columns" }, TEXTS.map(([name, label, hint]) => field(label, textInput(name), hint)))),
  ];
  formDialog({
    title: exchange === "" && fixed ? `Publish to ${routingKey}` : `Publish to ${exchange || "the default exchange"}`,
    wide: true,
    body,
    action: "Publish",
    submit: async (values) => {
      const answer = await api.post(api.url("exchanges", vhost, api.exchangeInUrl(exchange), "publish"), {
        properties: propertiesOf(values, headers.read()),
        routing_key: fixed ? routingKey : values.routing_key,
        payload: values.payload,
        payload_encoding: values.payload_encoding,
      });
      if (!answer?.routed) throw new Error("Published, but no queue took it: no binding fits.");
      done("Published.");
      after?.();
    },
  });
}

function propertiesOf(values, headers) {
  const properties = { delivery_mode: values.persistent ? 2 : 1 };
  for (const [name] of TEXTS) {
    if (values[name] !== "") properties[name] = values[name];
  }
  if (values.priority !== "") properties.priority = Number(values.priority);
  if (Object.keys(headers).length > 0) properties.headers = headers;
  return properties;
}
