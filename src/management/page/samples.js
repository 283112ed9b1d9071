// What was measured while this page was open, and the broker's own history where it keeps one. Charts draw from here,
// so they move even where the server remembers nothing.

const KEPT_MS = 60 * 60 * 1000;
const KEPT_SERIES = 24;

/** Points in time with the values that were known then, oldest first. */
export class Samples {
  points = [];

  push(time, values) {
    const last = this.points.at(-1);
    if (last && time <= last.time) return;
    this.points.push({ time, values });
    const oldest = time - KEPT_MS;
    const gone = this.points.findIndex((point) => point.time >= oldest);
    if (gone > 0) this.points.splice(0, gone);
  }

  /** Takes the broker's history for the time before the first own point: `{key: {samples: [...]}}`. */
  seed(details, { rates = [], levels = [] }) {
    const times = new Map();
    const add = (time, key, value) => {
      if (!times.has(time)) times.set(time, {});
      times.get(time)[key] = value;
    };
    for (const [key, detail] of rates) {
      for (const [time, rate] of growth(history(details, detail))) add(time, key, rate);
    }
    for (const [key, detail] of levels) {
      for (const { timestamp, sample } of history(details, detail)) add(timestamp, key, sample);
    }
    // The broker may round times up; what is measured next has to be later.
    const first = this.points[0]?.time ?? Date.now() - 1000;
    const old = [...times].map(([time, values]) => ({ time, values })).filter(({ time }) => time < first);
    old.sort((a, b) => a.time - b.time);
    this.points.unshift(...old);
  }

  get newest() {
    return this.points.at(-1);
  }
}

// How fast a count grew. Where it stood still and then jumped, perhaps because nobody looked meanwhile, the jump is
// spread over the time since it moved last.
function growth(samples) {
  const rates = [];
  let moved = samples[0];
  let since = [];
  for (const now of samples.slice(1)) {
    since.push(now.timestamp);
    if (now.sample === moved.sample) continue;
    const rate = ((now.sample - moved.sample) * 1000) / (now.timestamp - moved.timestamp);
    rates.push(...since.map((time) => [time, Math.max(0, rate)]));
    moved = now;
    since = [];
  }
  return rates.concat(since.map((time) => [time, 0]));
}

// Oldest first; the broker tells the newest first.
function history(details, name) {
  const samples = details?.[name]?.samples;
  return Array.isArray(samples) ? samples.toSorted((a, b) => a.timestamp - b.timestamp) : [];
}

const kept = new Map();

/** The samples of one thing (`queue / orders`), the same ones at every visit of its view. */
export function samplesOf(...name) {
  const key = JSON.stringify(name);
  const samples = kept.get(key) ?? new Samples();
  kept.delete(key);
  kept.set(key, samples);
  if (kept.size > KEPT_SERIES) kept.delete(kept.keys().next().value);
  return samples;
}

/** Rates of `message_stats`, by the name of the counter; 0 for what never happened. */
export function rateOf(stats, name) {
  return stats?.[`${name}_details`]?.rate ?? 0;
}

/** Query values that ask for the broker's history of ten minutes. */
export const HISTORY = { msg_rates_age: 600, msg_rates_incr: 5, lengths_age: 600, lengths_incr: 5 };
