// One channel: its rates, its consumers, its settings.

import * as api from "../api.js";
import { Chart } from "../chart.js";
import { count, rate, yesNo } from "../format.js";
import { watch } from "../page.js";
import { card, facts, grid, queueLink, state, tellFacts, to } from "../parts.js";
import { rateOf, samplesOf } from "../samples.js";
import { Table } from "../table.js";

const SERIES = [
  { key: "publish", label: "Publish", tone: 1 },
  { key: "confirm", label: "Confirm", tone: 3 },
  { key: "deliver_get", label: "Deliver", tone: 2 },
  { key: "ack", label: "Ack", tone: 4 },
  { key: "redeliver", label: "Redeliver", tone: 6 },
];

export default function channel(page) {
  const { name } = page.params;
  page.title(name, to(["channels"], "Channels"));
  const samples = samplesOf("channel", name);
  const chart = new Chart({ title: "Message rates", samples, series: SERIES, format: rate });
  const about = facts([]);
  const consumers = new Table({
    caption: "Consumers of this channel",
    key: (row) => row.consumer_tag,
    empty: "It consumes nothing.",
    columns: [
      { title: "Consumer tag", wide: true, value: (row) => row.consumer_tag },
      { title: "Queue", value: (row) => row.queue, render: (row) => queueLink(row.queue.vhost, row.queue.name) },
      { title: "Acks", value: (row) => (row.ack_required ? "by consumer" : "automatic") },
      { title: "Exclusive", rank: 2, value: (row) => yesNo(row.exclusive) },
      { title: "Prefetch", number: true, value: (row) => row.prefetch_count || "none" },
    ],
  });
  page.show(grid("halves", card("Channel", about), chart.element), card("Consumers", consumers.element));

  watch(page, 2, () => api.get(api.url("channels", name), page.signal), (now) => {
    const rates = SERIES.map(({ key }) => [key, rateOf(now.message_stats, key)]);
    samples.push(Date.now(), Object.fromEntries(rates));
    chart.draw();
    tellFacts(about, factsOf(now));
    consumers.update(now.consumer_details ?? []);
  });
}

function factsOf(now) {
  const connection = now.connection_details?.name;
  return [
    ["Connection", connection ? to(["connections", connection], connection) : undefined],
    ["State", state(now.state)],
    ["User", now.user],
    ["Virtual host", now.vhost],
    ["Publisher confirms", yesNo(now.confirm)],
    ["Transactions", yesNo(now.transactional)],
    ["Prefetch per consumer", now.prefetch_count || "none"],
    ["Prefetch of the channel", now.global_prefetch_count || "none"],
    ["Unacked", count(now.messages_unacknowledged)],
    ["Unconfirmed", count(now.messages_unconfirmed)],
    ["Uncommitted messages", count(now.messages_uncommitted)],
    ["Uncommitted acks", count(now.acks_uncommitted)],
    ["Returned as unroutable", count(now.message_stats?.return_unroutable ?? 0)],
  ];
}
