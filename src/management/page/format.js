// Numbers, sizes and times as people read them. What is not known is a dash.

export const NOTHING = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });

const known = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  return known(value) ? whole.format(value) : NOTHING;
}

/** Large numbers in little room: 12.4k, 3.1M. */
export function short(value) {
  if (!known(value)) return NOTHING;
  const steps = [[1e9, "G"], [1e6, "M"], [1e4, "k"]];
  for (const [least, unit] of steps) {
    const size = unit === "k" ? 1e3 : least;
    if (value >= least) return `${trim((value / size).toFixed(1))}${unit}`;
  }
  return value < 10 && value % 1 ? value.toFixed(1) : whole.format(value);
}

/** Per second. */
export function rate(value) {
  if (!known(value)) return NOTHING;
  return `${value > 0 && value < 10 ? tenth.format(value) : whole.format(value)}/s`;
}

export function bytes(value) {
  if (!known(value)) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let size = value;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit > 0 && size < 100 ? trim(size.toFixed(1)) : whole.format(size)} ${units[unit]}`;
}

export const byteRate = (value) => (known(value) ? `${bytes(value)}/s` : NOTHING);

export function micros(value) {
  if (!known(value)) return NOTHING;
  if (value < 1000) return `${whole.format(value)} µs`;
  if (value < 1e6) return `${trim((value / 1e3).toFixed(value < 1e5 ? 1 : 0))} ms`;
  return `${trim((value / 1e6).toFixed(1))} s`;
}

/** Milliseconds, as a length of time. */
export function duration(ms) {
  if (!known(ms)) return NOTHING;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function moment(value) {
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return NOTHING;
  return date.toLocaleString("sv-SE");
}

export function clock(value) {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? String(value ?? "") : date.toLocaleTimeString("sv-SE");
}

export function percent(part, all) {
  return known(part) && known(all) && all > 0 ? `${whole.format((part / all) * 100)} %` : NOTHING;
}

export const yesNo = (value) => (value ? "yes" : "no");

/** Any value of JSON on one line. */
export function plain(value) {
  if (value === null || value === undefined || value === "") return NOTHING;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const trim = (text) => text.replace(/\.0$/, "");
