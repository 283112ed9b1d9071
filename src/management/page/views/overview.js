// How the broker is: totals, live charts, the node and where it listens.

import { Chart, rangeChoice } from "../chart.js";
import { h } from "../dom.js";
import { bytes, count, duration, micros, percent, plural, rate, short } from "../format.js";
import { card, facts, figures, grid, tellFacts } from "../parts.js";
import { hurry, onBeat, pulse } from "../pulse.js";
import { link } from "../router.js";
import { Table } from "../table.js";
import { may } from "../session.js";

const RATES = [
  { key: "publish", label: "Publish", tone: 1 },
  { key: "confirm", label: "Confirm", tone: 3 },
  { key: "deliver", label: "Deliver", tone: 2 },
  { key: "ack", label: "Ack", tone: 4 },
];
const QUEUED = [
  { key: "ready", label: "Ready", tone: 1 },
  { key: "unacked", label: "Unacked", tone: 2 },
];
const LATENCIES = [
  { key: "delivered_us", label: "Deliver", tone: 2 },
  { key: "confirmed_us", label: "Confirm", tone: 3 },
  { key: "sync_us", label: "Sync", tone: 5 },
];
const LATENCY_ROWS = [
  ["publish_to_deliver", "Publish to deliver"], ["publish_to_confirm", "Publish to confirm"],
  ["sync", "Sync to disk"], ["turn", "Turn of the loop"],
];

export default function overview(page) {
  page.title("Overview");
  const totals = figures({
    ready: { label: "Ready" },
    unacked: { label: "Unacked" },
    publish: { label: "Publish" },
    deliver: { label: "Deliver" },
    connections: { label: "Connections", href: link(["connections"]) },
    channels: { label: "Channels", href: link(["channels"]) },
    consumers: { label: "Consumers", href: link(["consumers"]) },
    queues: { label: "Queues", href: link(["queues"]) },
    exchanges: { label: "Exchanges", href: link(["exchanges"]) },
  });
  const charts = chartsOf(may("monitoring"));
  const latency = latencyCard();
  const node = facts([]);
  const listeners = new Table({
    caption: "Listeners",
    key: ({ protocol, ip_address: ip, port }) => `${protocol} ${ip} ${port}`,
    empty: "Nothing listens.",
    columns: [
      { title: "Protocol", value: ({ protocol }) => protocol },
      { title: "Address", value: ({ ip_address: ip }) => ip },
      { title: "Port", number: true, value: ({ port }) => port },
    ],
  });
  const redraw = () => charts.all.forEach((chart) => chart.draw());
  page.actions.append(rangeChoice(redraw));
  page.show(
    totals.element,
    grid("halves", charts.large),
    grid("thirds", charts.small, latency.chart.element),
    grid("halves", card("Node", node), h("div", { class: "stack" }, latency.element, card("Listeners", listeners.element))),
  );

  hurry(2, page.signal);
  onBeat(() => {
    const { overview: now } = pulse;
    totals.tell(totalsOf(now));
    tellFacts(node, nodeFacts());
    listeners.update(now.listeners ?? []);
    latency.tell(now.latency);
    redraw();
  }, page.signal);
  charts.all.push(latency.chart);
}

function chartsOf(withNode) {
  const { samples } = pulse;
  const large = [
    new Chart({ title: "Message rates", samples, series: RATES, format: rate, height: 210 }),
    new Chart({ title: "Queued messages", samples, series: QUEUED, format: short, height: 210 }),
  ];
  const small = withNode
    ? [
        new Chart({ title: "Memory", samples, series: [{ key: "memory", label: "Used", tone: 5 }], format: bytes, height: 140 }),
        new Chart({ title: "Disk", samples, series: [{ key: "disk", label: "Free", tone: 4 }], format: bytes, height: 140 }),
      ]
    : [];
  const elements = (charts) => charts.map(({ element }) => element);
  return { all: [...large, ...small], large: elements(large), small: elements(small) };
}

function totalsOf({ queue_totals: queued = {}, object_totals: objects = {} }) {
  const now = pulse.samples.newest?.values ?? {};
  return {
    ready: count(queued.messages_ready ?? 0),
    unacked: count(queued.messages_unacknowledged ?? 0),
    publish: rate(now.publish),
    deliver: rate(now.deliver),
    connections: count(objects.connections),
    channels: count(objects.channels),
    consumers: count(objects.consumers),
    queues: count(objects.queues),
    exchanges: count(objects.exchanges),
  };
}

function nodeFacts() {
  const { overview: now, status, node } = pulse;
  const memory = status?.memory;
  const used = node?.mem_used ?? memory?.resident;
  const limit = node?.mem_limit ?? memory?.limit;
  const free = status?.disk?.free ?? node?.disk_free;
  const files = status?.file_descriptors ?? (node && { used: node.fd_used, limit: node.fd_total });
  const rows = [["Name", now.node], ["Cluster", now.cluster_name], ["Version", now.leveret_version ?? status?.version], ["Answers as", `RabbitMQ ${now.rabbitmq_version}`]];
  if (status || node) {
    rows.push(
      ["Up", duration(status?.uptime_ms ?? node?.uptime)],
      ["Process", status?.pid ?? node?.os_pid],
      ["Memory", `${bytes(used)} of ${bytes(limit)}, ${percent(used, limit)}`],
      ["Messages in memory", memory?.messages === undefined ? undefined : bytes(memory.messages)],
      ["Disk free", `${bytes(free)}, limit ${bytes(status?.disk?.limit ?? node?.disk_free_limit)}`],
      ["Files and sockets", files ? `${count(files.used)} of ${count(files.limit)}` : undefined],
      ["Data", status?.data_directory ?? node?.db_dir],
    );
  }
  rows.push(["Oldest unacked", now.oldest_unacked_ms === undefined ? undefined : duration(now.oldest_unacked_ms)]);
  return rows;
}

// Only where the broker measures it.
function latencyCard() {
  const chart = new Chart({ title: "Latency, p99", samples: pulse.samples, series: LATENCIES, format: micros, height: 140 });
  const table = new Table({
    caption: "Latency",
    key: ([key]) => key,
    empty: "Nothing measured.",
    columns: [
      { title: "Latency", value: ([, label]) => label },
      { title: "p50", number: true, value: ([, , one]) => micros(one.p50_us) },
      { title: "p99", number: true, value: ([, , one]) => micros(one.p99_us) },
      { title: "p99.9", number: true, value: ([, , one]) => micros(one.p999_us) },
      { title: "Measured", number: true, rank: 2, value: ([, , one]) => short(one.count) },
    ],
  });
  const element = card("Latency", table.element);
  element.hidden = true;
  chart.element.hidden = true;
  return {
    chart,
    element,
    tell(latency) {
      element.hidden = !latency;
      chart.element.hidden = !latency;
      if (!latency) return;
      table.update(LATENCY_ROWS.filter(([key]) => latency[key]).map(([key, label]) => [key, label, latency[key]]));
      element.setAttribute("aria-label", plural(table.rows.size, "latency", "latencies"));
    },
  };
}
