// The broker's pulse: totals, rates and the state of the node, taken every few seconds whichever view is open, so that
// the overview's charts have no holes and alarms are seen on every page.

import * as api from "./api.js";
import { poll } from "./poll.js";
import { HISTORY, Samples, rateOf } from "./samples.js";
import { may } from "./session.js";

const SECONDS = 5;

export const pulse = { overview: null, status: null, node: null, lost: null, samples: new Samples() };

const listeners = new Set();
let beat = null;
let stopping = null;
let hasStatus = true;

export function start() {
  stop();
  Object.assign(pulse, { overview: null, status: null, node: null, lost: null, samples: new Samples() });
  hasStatus = true;
  stopping = new AbortController();
  const { signal } = stopping;
  beat = poll(SECONDS, () => take(signal), signal);
}

export function stop() {
  stopping?.abort();
  stopping = null;
}

/** Calls `listener` after each beat until `signal` is aborted, and now if there was one. */
export function onBeat(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => listeners.delete(listener));
  if (pulse.overview) listener();
}

/** Beats faster while `signal` lasts. */
export function hurry(seconds, signal) {
  beat?.every(seconds);
  signal.addEventListener("abort", () => beat?.every(SECONDS));
}

/** What is wrong with the broker in one sentence each. */
export function alarms() {
  const { node, status } = pulse;
  const told = (status?.alarms ?? []).map(wordsOf);
  if (told.length === 0 && node?.mem_alarm) told.push(wordsOf("memory"));
  if (told.length === 0 && node?.disk_free_alarm) told.push(wordsOf("disk"));
  return told;
}

async function take(signal) {
  try {
    const first = pulse.overview === null;
    pulse.overview = await api.get(api.query("api/overview", first ? HISTORY : {}), signal);
    if (first) seed(pulse.overview);
    if (may("monitoring")) await takeNode(signal);
    pulse.lost = null;
    pulse.samples.push(Date.now(), measured());
  } catch (error) {
    if (error.name === "AbortError") return;
    pulse.lost = error.message;
  }
  if (signal.aborted) return;
  for (const listener of listeners) listener();
}

async function takeNode(signal) {
  pulse.status = hasStatus ? await api.getIfAny("api/leveret/status", signal) : null;
  hasStatus = pulse.status !== null;
  const nodes = await api.getIfAny("api/nodes", signal);
  pulse.node = nodes?.[0] ?? null;
}

function measured() {
  const { overview, status, node } = pulse;
  const stats = overview.message_stats;
  const latency = overview.latency ?? {};
  const used = status?.memory?.resident ?? node?.mem_used;
  return {
    publish: rateOf(stats, "publish"),
    confirm: rateOf(stats, "confirm"),
    deliver: rateOf(stats, "deliver_get"),
    ack: rateOf(stats, "ack"),
    ready: overview.queue_totals?.messages_ready ?? 0,
    unacked: overview.queue_totals?.messages_unacknowledged ?? 0,
    memory: used,
    disk: status?.disk?.free ?? node?.disk_free,
    delivered_us: latency.publish_to_deliver?.p99_us,
    confirmed_us: latency.publish_to_confirm?.p99_us,
    sync_us: latency.sync?.p99_us,
  };
}

function seed({ message_stats: stats, queue_totals: totals }) {
  pulse.samples.seed({ ...stats, ...totals }, {
    rates: [["publish", "publish_details"], ["confirm", "confirm_details"], ["deliver", "deliver_get_details"], ["ack", "ack_details"]],
    levels: [["ready", "messages_ready_details"], ["unacked", "messages_unacknowledged_details"]],
  });
}

function wordsOf(alarm) {
  const name = typeof alarm === "string" ? alarm : (alarm.source ?? alarm.resource ?? JSON.stringify(alarm));
  if (/memory/.test(name)) return "Memory is above its limit: publishers wait until messages are consumed.";
  if (/disk/.test(name)) return "Disk space is below its limit: publishers wait until space is free.";
  return `Alarm: ${name}`;
}
