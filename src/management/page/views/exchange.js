// One exchange: what goes in and out, and its bindings both ways.

import * as api from "../api.js";
import { Chart } from "../chart.js";
import { fill } from "../dom.js";
import { rate, yesNo } from "../format.js";
import { button, confirmDialog } from "../form.js";
import { done } from "../notice.js";
import { watch } from "../page.js";
import { card, facts, features, grid, hostMark, pairs, tellFacts, to } from "../parts.js";
import { publishDialog } from "../publish.js";
import { go } from "../router.js";
import { HISTORY, rateOf, samplesOf } from "../samples.js";
import { bindingsOf } from "./bindings.js";

const SERIES = [
  { key: "publish_in", label: "In", tone: 1 },
  { key: "publish_out", label: "Out", tone: 2 },
];

export default function exchange(page) {
  const { vhost, name } = page.params;
  page.title(name === "" ? "(default)" : name, to(["exchanges"], "Exchanges"));
  const samples = samplesOf("exchange", vhost, name);
  const chart = new Chart({ title: "Message rates", samples, series: SERIES, format: rate });
  const about = facts([]);
  const bindings = bindingsOf(page, { vhost, kind: "exchange", name });
  page.actions.append(button("Publish …", () => publishDialog({ vhost, exchange: name, after: () => turn.now() })));
  // RabbitMQ refuses to delete its own.
  if (name !== "" && !name.startsWith("amq.")) page.actions.append(button("Delete …", () => remove(vhost, name), "danger"));
  page.show(grid("halves", card("Exchange", about), chart.element), bindings.element);

  let first = true;
  const address = api.url("exchanges", vhost, api.exchangeInUrl(name));
  const load = () => api.get(first && samples.points.length === 0 ? api.query(address, HISTORY) : address, page.signal);
  const turn = watch(page, 2, load, (now) => {
    const stats = now.message_stats;
    if (first) samples.seed(stats, { rates: SERIES.map(({ key }) => [key, `${key}_details`]) });
    first = false;
    samples.push(Date.now(), Object.fromEntries(SERIES.map(({ key }) => [key, rateOf(stats, key)])));
    chart.draw();
    fill(page.beside, hostMark(vhost), features(now));
    tellFacts(about, factsOf(now));
  });
}

function factsOf(now) {
  return [
    ["Type", now.type],
    ["Durable", yesNo(now.durable)],
    ["Deleted when unused", yesNo(now.auto_delete)],
    ["Internal", yesNo(now.internal)],
    ["Arguments", Object.keys(now.arguments ?? {}).length > 0 ? pairs(now.arguments) : "none"],
    ["Policy", now.policy || "none"],
    ["Made by", now.user_who_performed_action || undefined],
  ];
}

function remove(vhost, name) {
  confirmDialog({
    title: `Delete ${name}?`,
    text: "The exchange and all its bindings are deleted. Publishers to it lose their channel.",
    action: "Delete exchange",
    submit: async () => {
      await api.remove(api.url("exchanges", vhost, name));
      done(`Exchange ${name} is deleted.`);
      go(["exchanges"]);
    },
  });
}
