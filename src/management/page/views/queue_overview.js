// The first part of a queue's view: figures, charts, facts and consumers.

import { Chart, rangeChoice } from "../chart.js";
import { h } from "../dom.js";
import { bytes, count, micros, moment, percent, rate, short } from "../format.js";
import { card, facts, figures, grid, pairs, tellFacts } from "../parts.js";
import { HISTORY, rateOf, samplesOf } from "../samples.js";
import { Table } from "../table.js";
import { consumerColumns } from "./consumers.js";

const RATES = [
  { key: "publish", label: "Publish", tone: 1 },
  { key: "deliver_get", label: "Deliver", tone: 2 },
  { key: "ack", label: "Ack", tone: 4 },
  { key: "redeliver", label: "Redeliver", tone: 6 },
];
const LENGTHS = [
  { key: "ready", label: "Ready", tone: 1 },
  { key: "unacked", label: "Unacked", tone: 2 },
];

export function queueOverview(page, vhost, name) {
  const samples = samplesOf("queue", vhost, name);
  const charts = [
    new Chart({ title: "Message rates", samples, series: RATES, format: rate, height: 190 }),
    new Chart({ title: "Messages", samples, series: LENGTHS, format: short, height: 190 }),
  ];
  const totals = figures({
    ready: { label: "Ready" },
    unacked: { label: "Unacked" },
    publish: { label: "Publish" },
    deliver: { label: "Deliver" },
    consumers: { label: "Consumers" },
    size: { label: "Size" },
  });
  const about = facts([]);
  const consumers = new Table({
    caption: "Consumers of this queue",
    key: (row) => `${row.channel_details?.name} ${row.consumer_tag}`,
    empty: "Nobody consumes from it.",
    columns: consumerColumns().filter(({ title }) => title !== "Exclusive"),
  });
  const redraw = () => charts.forEach((chart) => chart.draw());
  return {
    history: samples.points.length === 0 ? HISTORY : {},
    element: h(
      "div",
      { class: "content" },
      h("div", { class: "figures-bar" }, totals.element, rangeChoice(redraw)),
      grid("halves", charts.map(({ element }) => element)),
      grid("halves", card("Queue", about), card("Consumers", consumers.element)),
    ),
    tell(now, first) {
      if (first) seed(samples, now);
      samples.push(Date.now(), measured(now));
      redraw();
      totals.tell({
        ready: count(now.messages_ready ?? 0),
        unacked: count(now.messages_unacknowledged ?? 0),
        publish: rate(rateOf(now.message_stats, "publish")),
        deliver: rate(rateOf(now.message_stats, "deliver_get")),
        consumers: count(now.consumers ?? 0),
        size: bytes(now.message_bytes),
      });
      tellFacts(about, factsOf(now));
      consumers.update(now.consumer_details ?? []);
    },
  };
}

function measured(now) {
  const rates = RATES.map(({ key }) => [key, rateOf(now.message_stats, key)]);
  return { ...Object.fromEntries(rates), ready: now.messages_ready ?? 0, unacked: now.messages_unacknowledged ?? 0 };
}

function seed(samples, now) {
  samples.seed({ ...now.message_stats, ...now }, {
    rates: RATES.map(({ key }) => [key, `${key}_details`]),
    levels: [["ready", "messages_ready_details"], ["unacked", "messages_unacknowledged_details"]],
  });
}

function factsOf(now) {
  const utilisation = now.consumer_capacity ?? now.consumer_utilisation;
  return [
    ["Type", now.type],
    ["Arguments", Object.keys(now.arguments ?? {}).length > 0 ? pairs(now.arguments) : "none"],
    ["Policy", now.policy || "none"],
    ["Operator policy", now.operator_policy || "none"],
    ["In force by policy", Object.keys(now.effective_policy_definition ?? {}).length > 0 ? pairs(now.effective_policy_definition) : undefined],
    ["Idle since", now.idle_since ? moment(now.idle_since) : undefined],
    ["First message of", now.head_message_timestamp ? moment(now.head_message_timestamp * 1000) : undefined],
    ["Consumers keep up", typeof utilisation === "number" ? percent(utilisation, 1) : undefined],
    ["Active consumer", now.single_active_consumer_tag || undefined],
    ["Waiting for another try", now.messages_retrying ? count(now.messages_retrying) : undefined],
    ...latencyFacts(now.latency),
  ];
}

// As far as it is known: to the next power of two.
function latencyFacts(latency = {}) {
  const waits = latency.publish_to_deliver;
  if (!waits?.count) return [];
  return [["Publish to deliver", `p50 < ${micros(waits.p50_us)}, p99 < ${micros(waits.p99_us)}, p99.9 < ${micros(waits.p999_us)}`]];
}
