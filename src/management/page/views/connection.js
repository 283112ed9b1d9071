// One connection: what flows over it, its channels, what the client said of itself, and its end.

import * as api from "../api.js";
import { Chart } from "../chart.js";
import { h } from "../dom.js";
import { byteRate, bytes, count, duration } from "../format.js";
import { button, confirmDialog, field, textInput } from "../form.js";
import { done } from "../notice.js";
import { watch } from "../page.js";
import { card, facts, grid, state, tellFacts, to, when } from "../parts.js";
import { go } from "../router.js";
import { samplesOf } from "../samples.js";
import { Table } from "../table.js";
import { channelColumns } from "./channels.js";
import { nameOf } from "./connections.js";

export default function connection(page) {
  const { name } = page.params;
  page.title(name, to(["connections"], "Connections"));
  page.actions.append(button("Close connection …", () => close(name), "danger"));
  const samples = samplesOf("connection", name);
  const chart = new Chart({
    title: "Bytes per second",
    samples,
    format: byteRate,
    series: [{ key: "in", label: "From the client", tone: 1 }, { key: "out", label: "To the client", tone: 2 }],
  });
  const about = facts([]);
  const client = facts([]);
  const channels = new Table({
    caption: "Channels of this connection",
    key: (row) => row.name,
    empty: "No channel is open.",
    columns: channelColumns(false),
  });
  page.show(grid("halves", card("Connection", about), h("div", { class: "stack" }, chart.element, card("Client", client))), card("Channels", channels.element));

  const load = async () => {
    const [now, open] = await Promise.all([
      api.get(api.url("connections", name), page.signal),
      api.get(api.url("connections", name, "channels"), page.signal),
    ]);
    return { now, open };
  };
  watch(page, 2, load, ({ now, open }) => {
    if (nameOf(now)) page.title(nameOf(now), to(["connections"], "Connections"));
    samples.push(Date.now(), { in: now.recv_oct_details?.rate ?? 0, out: now.send_oct_details?.rate ?? 0 });
    chart.draw();
    tellFacts(about, factsOf(now));
    tellFacts(client, clientFacts(now.client_properties));
    channels.update(open);
  });
}

function factsOf(now) {
  const tls = now.ssl ? [now.ssl_protocol, now.ssl_cipher].filter(Boolean).join(", ") || "yes" : "no";
  return [
    ["Name", now.name],
    ["State", state(now.state)],
    ["User", now.user],
    ["Virtual host", now.vhost],
    ["Protocol", now.protocol],
    ["Connected", now.connected_at ? when(now.connected_at) : undefined],
    ["TLS", tls],
    ["Certificate", now.peer_cert_subject || undefined],
    ["Authentication", now.auth_mechanism],
    ["Heartbeat", now.timeout === undefined ? undefined : now.timeout === 0 ? "none" : duration(now.timeout * 1000)],
    ["Frame size", now.frame_max ? bytes(now.frame_max) : undefined],
    ["Channels", now.channel_max ? `${count(now.channels)} of ${count(now.channel_max)}` : count(now.channels)],
    ["Received", bytes(now.recv_oct)],
    ["Sent", bytes(now.send_oct)],
  ];
}

function clientFacts({ capabilities = {}, ...others } = {}) {
  const can = Object.entries(capabilities).filter(([, value]) => value === true).map(([name]) => name);
  const rows = Object.entries(others).map(([name, value]) => [name.replaceAll("_", " "), value]);
  return [...rows, ["capabilities", can.join(", ")]];
}

function close(name) {
  confirmDialog({
    title: "Close this connection?",
    text: "Messages that its consumers have not acked go back to their queues. Most clients connect again at once.",
    body: field("Reason", textInput("reason", "Closed via management page"), "The client and the log are told."),
    action: "Close connection",
    submit: async ({ reason }) => {
      await api.remove(api.url("connections", name), { "X-Reason": headerSafe(reason) });
      done("Connection closed.");
      go(["connections"]);
    },
  });
}

// Headers hold Latin-1 on one line.
const headerSafe = (text) => text.replace(/[^\x20-\x7e\xa0-\xff]/g, "?");
