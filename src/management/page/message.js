// One message as people read it: a line that opens into properties, headers and payload.

import { h } from "./dom.js";
import { bytes, moment, plain } from "./format.js";
import { badge, facts, pairs } from "./parts.js";
import { plainTable } from "./table.js";

const LINE = 90;

/** `position` is shown before it when it has one. */
export function messageView(message) {
  const { position, state, redelivered, exchange, routing_key: key, payload_bytes: size } = message;
  const text = message.payload_encoding === "base64" ? "binary" : message.payload.slice(0, LINE).replace(/\s+/g, " ");
  const element = h(
    "details",
    { class: "message" },
    h(
      "summary",
      null,
      position !== undefined && h("span", { class: "position" }, `#${position}`),
      h("span", { class: "message-key" }, key === "" ? "(no routing key)" : key),
      h("span", { class: "message-text" }, text),
      state === "unacked" && badge("unacked", "Delivered, and not acked yet", "warn"),
      state === "retrying" && badge("retrying", `Ready for another try at ${moment(message.due_ms)}`, "warn"),
      redelivered && badge("redelivered", "Was delivered before"),
      h("span", { class: "message-size" }, bytes(size)),
    ),
  );
  // Built when it is opened: a page of messages is long, and few are looked at.
  element.addEventListener("toggle", () => {
    if (element.open && element.children.length === 1) element.append(inside(message, exchange, key));
  });
  return element;
}

function inside(message, exchange, key) {
  const { headers = {}, ...properties } = message.properties ?? {};
  const { "x-death": deaths, ...others } = headers;
  const rows = [["Exchange", exchange === "" ? "(default)" : exchange], ["Routing key", key]];
  for (const [name, value] of Object.entries(properties)) rows.push([name.replaceAll("_", " "), property(name, value)]);
  return h(
    "div",
    { class: "message-inside" },
    h("div", { class: "message-about" }, facts(rows), h("h4", null, "Headers"), pairs(others), Array.isArray(deaths) && deathTable(deaths)),
    payload(message),
  );
}

function property(name, value) {
  if (name === "delivery_mode") return value === 2 ? "persistent" : "transient";
  if (name === "timestamp") return moment(value * 1000);
  return plain(value);
}

// RabbitMQ: the header of dead letters, the last death first.
function deathTable(deaths) {
  return [
    h("h4", null, "Deaths"),
    plainTable({
      caption: "Where and why this message died",
      key: (death) => `${death.queue} ${death.reason}`,
      empty: "",
      columns: [
        { title: "Queue", value: (death) => death.queue },
        { title: "Reason", value: (death) => death.reason },
        { title: "Count", number: true, value: (death) => death.count },
        { title: "Exchange", value: (death) => death.exchange || "(default)" },
        { title: "Keys", value: (death) => death["routing-keys"]?.join(", ") },
      ],
    }, deaths).element,
  ];
}

function payload(message) {
  const { payload: text, payload_encoding: encoding, payload_bytes: size } = message;
  const shown = encoding === "base64" ? text : pretty(text);
  const got = encoding === "base64" ? Math.floor((text.length * 3) / 4) : new TextEncoder().encode(text).length;
  const cut = got + 2 < size;
  return h(
    "div",
    { class: "payload" },
    h("h4", null, encoding === "base64" ? "Payload, Base64" : "Payload", h("span", { class: "dim" }, ` ${bytes(size)}${cut ? `, the first ${bytes(got)} shown` : ""}`)),
    h("pre", { tabindex: 0 }, shown === "" ? h("span", { class: "dim" }, "empty") : shown),
  );
}

/** JSON with line breaks; numbers beyond what a script can hold stay as they came. */
function pretty(text) {
  if (!/^\s*[[{]/.test(text) || /\d{16}/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
