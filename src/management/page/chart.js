// Line charts in SVG: a few series over the last minutes, with a legend that tells the current values and hides what
// is not wanted, and a cross-hair for mouse, finger and arrow keys. Lines differ by dashes as well as by colour.

import { fill, h, svg } from "./dom.js";
import { byteRate, bytes, clock } from "./format.js";

const MINUTE = 60_000;
export const RANGES = [["1 min", MINUTE], ["10 min", 10 * MINUTE], ["1 h", 60 * MINUTE]];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "", "5 2"];
const MARGIN = { top: 8, right: 10, bottom: 20, left: 52 };
const POINTS_MAX = 400;
// Points further apart belong to a tab that was hidden, and are not joined.
const GAP_MS = 45_000;

let range = 10 * MINUTE;

/** For all charts: how much time they show at most. */
export const setRange = (ms) => {
  range = ms;
};
export const getRange = () => range;

export class Chart {
  /** `series`: `[{key, label, tone}]`, `tone` 1 to 6; `format` writes a value. */
  constructor({ title, samples, series, format, height = 170 }) {
    Object.assign(this, { title, samples, series, format, height });
    this.off = new Set();
    this.cursor = null;
    this.legend = h("div", { class: "legend" });
    this.drawing = svg("svg", { class: "plot", role: "img", tabindex: 0, height });
    this.tip = h("div", { class: "tip", "aria-live": "off", hidden: true });
    this.element = h(
      "figure",
      { class: "chart card" },
      h("figcaption", null, h("h2", null, title), this.legend),
      h("div", { class: "plot-box" }, this.drawing, this.tip),
    );
    this.buildLegend();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.drawing);
  }

  /** Draws what the samples have now. */
  draw() {
    const width = this.drawing.clientWidth;
    if (width === 0) return;
    this.width = width;
    this.shown = this.series.filter(({ key }) => !this.off.has(key));
    this.points = this.visiblePoints();
    this.to = this.points.at(-1)?.time ?? Date.now();
    // A page that was opened just now shows one minute, not an empty hour.
    const oldest = this.points[0]?.time ?? this.to;
    this.from = this.to - Math.min(range, Math.max(MINUTE, this.to - oldest));
    this.top = niceCeiling(this.highest(), this.format === bytes || this.format === byteRate ? 1024 : 10);
    fill(this.drawing, this.grid(), this.shown.map((one) => this.line(one)), this.crossHair());
    this.describe();
    this.tellNow();
  }

  visiblePoints() {
    const all = this.samples.points.filter(({ values }) => this.shown.some(({ key }) => typeof values[key] === "number"));
    const newest = all.at(-1)?.time ?? 0;
    const inside = all.filter(({ time }) => time >= newest - range);
    const step = Math.ceil(inside.length / POINTS_MAX);
    return step <= 1 ? inside : inside.filter((_, index) => (inside.length - 1 - index) % step === 0);
  }

  highest() {
    let most = 0;
    for (const { values } of this.points) {
      for (const { key } of this.shown) most = Math.max(most, values[key] ?? 0);
    }
    return most;
  }

  x(time) {
    const room = this.width - MARGIN.left - MARGIN.right;
    return MARGIN.left + ((time - this.from) / Math.max(1, this.to - this.from)) * room;
  }

  y(value) {
    const room = this.height - MARGIN.top - MARGIN.bottom;
    return MARGIN.top + (1 - value / this.top) * room;
  }

  grid() {
    const marks = [0, this.top / 2, this.top].map((value) => {
      const y = Math.round(this.y(value)) + 0.5;
      return [
        svg("line", { class: "rule", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }),
        svg("text", { class: "tick", x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, this.format(value)),
      ];
    });
    const ends = [[this.from, "start"], [(this.from + this.to) / 2, "middle"], [this.to, "end"]];
    const times = ends.map(([time, anchor]) =>
      svg("text", { class: "tick", x: this.x(time), y: this.height - 4, "text-anchor": anchor }, clock(time)),
    );
    return svg("g", null, marks, times);
  }

  // The first series gets a soft ground, so that lines that go together can be told apart.
  line({ key, tone, dash }) {
    let path = "";
    let ground = "";
    let before = null;
    const floor = this.y(0).toFixed(1);
    for (const { time, values } of this.points) {
      const value = values[key];
      if (typeof value !== "number") {
        before = null;
        continue;
      }
      const joined = before !== null && time - before < GAP_MS;
      const x = this.x(time).toFixed(1);
      const to = `L${x} ${this.y(value).toFixed(1)}`;
      // A point that stands alone is a short line, for nothing would be seen of it.
      path += joined ? to : `${to.replace("L", "M")}h2`;
      // Each stretch goes up from the floor, and back down to it where the next begins.
      ground += joined ? to : `${before === null && ground === "" ? "" : `V${floor}`}M${x} ${floor}${to}`;
      before = time;
    }
    const last = this.points.findLast(({ values }) => typeof values[key] === "number");
    const line = [
      svg("path", { class: `line tone-${tone}`, d: path, "stroke-dasharray": dash }),
      last && svg("circle", { class: `end tone-${tone}`, cx: this.x(last.time), cy: this.y(last.values[key]), r: 2.5 }),
    ];
    if (key !== this.series[0].key || ground === "") return line;
    return [svg("path", { class: `ground tone-${tone}`, d: `${ground}V${floor}` }), line];
  }

  crossHair() {
    const point = this.cursor === null ? null : nearest(this.points, this.cursor);
    this.tip.hidden = !point;
    if (!point) return null;
    const x = this.x(point.time);
    const rows = this.shown.map(({ key, label, tone, dash }) =>
      h("div", null, swatch(tone, dash), h("span", null, label), h("b", null, this.format(point.values[key]))),
    );
    fill(this.tip, h("div", { class: "tip-time" }, clock(point.time)), rows);
    this.tip.classList.toggle("left", x > this.width / 2);
    this.tip.style.insetInlineStart = `${x}px`;
    return svg(
      "g",
      { class: "cross" },
      svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: this.height - MARGIN.bottom }),
      this.shown
        .filter(({ key }) => typeof point.values[key] === "number")
        .map(({ key, tone }) => svg("circle", { class: `dot tone-${tone}`, cx: x, cy: this.y(point.values[key]), r: 3 })),
    );
  }

  // What a screen reader says of the drawing.
  describe() {
    const minutes = Math.max(1, Math.round((this.to - this.from) / MINUTE));
    const parts = this.shown.map(({ key, label }) => {
      const values = this.points.map((point) => point.values[key]).filter((value) => typeof value === "number");
      if (values.length === 0) return `${label}: nothing yet`;
      return `${label}: now ${this.format(values.at(-1))}, at most ${this.format(Math.max(...values))}`;
    });
    const text = `${this.title}, last ${minutes} min. ${parts.join("; ")}. Arrow keys read single points.`;
    this.drawing.setAttribute("aria-label", text);
  }

  buildLegend() {
    this.now = new Map();
    for (const [index, one] of this.series.entries()) {
      one.dash = one.dash ?? DASHES[index];
      const value = h("b", null, this.format(undefined));
      this.now.set(one.key, value);
      const toggle = h("button", { type: "button", class: "key", "aria-pressed": "true" }, swatch(one.tone, one.dash), one.label, value);
      toggle.addEventListener("click", () => {
        const hide = !this.off.has(one.key);
        if (hide) this.off.add(one.key);
        else this.off.delete(one.key);
        toggle.setAttribute("aria-pressed", String(!hide));
        this.draw();
      });
      this.legend.append(toggle);
    }
  }

  tellNow() {
    const newest = this.samples.newest?.values ?? {};
    for (const [key, element] of this.now) element.textContent = this.format(newest[key]);
  }

  listen() {
    const move = (event) => {
      const { left } = this.drawing.getBoundingClientRect();
      const share = (event.clientX - left - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
      this.tip.setAttribute("aria-live", "off");
      this.point(this.from + share * (this.to - this.from));
    };
    this.drawing.addEventListener("pointermove", move);
    this.drawing.addEventListener("pointerdown", move);
    this.drawing.addEventListener("pointerleave", () => this.point(null));
    this.drawing.addEventListener("blur", () => this.point(null));
    this.drawing.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || this.points.length === 0) return;
      event.preventDefault();
      // Read out what was asked for with a key, not all that a mouse passes.
      this.tip.setAttribute("aria-live", "polite");
      const at = this.cursor === null ? this.points.length : this.points.indexOf(nearest(this.points, this.cursor));
      const index = Math.min(this.points.length - 1, Math.max(0, at + step));
      this.point(this.points[index].time);
    });
  }

  point(time) {
    this.cursor = time;
    if (this.points) this.draw();
  }
}

/** Buttons for how much time all charts show; `redraw` follows a choice. */
export function rangeChoice(redraw) {
  const buttons = RANGES.map(([label, ms]) =>
    h("button", {
      type: "button",
      "aria-pressed": String(ms === range),
      onclick: (event) => {
        setRange(ms);
        for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
        redraw();
      },
    }, label),
  );
  return h("div", { class: "segments", role: "group", "aria-label": "Time shown in charts" }, buttons);
}

function swatch(tone, dash) {
  return svg(
    "svg",
    { class: "swatch", width: 20, height: 8, "aria-hidden": "true" },
    svg("line", { class: `line tone-${tone}`, x1: 1, x2: 19, y1: 4, y2: 4, "stroke-dasharray": dash }),
  );
}

function nearest(points, time) {
  let best = null;
  for (const point of points) {
    if (!best || Math.abs(point.time - time) < Math.abs(best.time - time)) best = point;
  }
  return best;
}

// The next round number, half of which is round, too: bytes count in powers of 1024.
function niceCeiling(value, base) {
  if (!(value > 0)) return 1;
  const power = base ** Math.floor(Math.log(value) / Math.log(base) + 1e-9);
  const steps = base === 10 ? [1, 2, 4, 6, 8, 10] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
  return power * (steps.find((step) => step * power >= value) ?? base);
}
