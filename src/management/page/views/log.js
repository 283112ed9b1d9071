// The log and the events of the broker as they happen.

import { fill, h } from "../dom.js";
import { clock, plain } from "../format.js";
import { button, select } from "../form.js";

const LINES_MAX = 1000;
const LEVELS = ["error", "warn", "info", "debug", "trace"];

export default function log(page) {
  page.title("Live log");
  const state = { level: "debug", kind: "all", text: "", paused: false, lines: [] };
  const lines = h("ol", { class: "log", role: "log", "aria-label": "Log", tabindex: 0, "aria-live": "off" });
  const status = h("p", { class: "summary", role: "status" }, "Connecting …");
  const pause = button("Pause", () => {
    state.paused = !state.paused;
    pause.textContent = state.paused ? "Go on" : "Pause";
    if (!state.paused) redraw();
  });
  const clear = button("Clear", () => {
    state.lines = [];
    redraw();
  });
  const redraw = () => {
    fill(lines, state.lines.filter((line) => isWanted(line, state)).map(lineView));
    lines.scrollTop = lines.scrollHeight;
  };
  const take = (line) => {
    state.lines.push(line);
    if (state.lines.length > LINES_MAX) state.lines.shift();
    if (state.paused || !isWanted(line, state)) return;
    // Who scrolled up reads there, and is left in peace.
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    lines.append(lineView(line));
    while (lines.children.length > LINES_MAX) lines.firstChild.remove();
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };

  page.actions.append(pause, clear);
  page.show(h("section", { class: "list" }, h("div", { class: "list-bar" }, choices(state, redraw), status), lines));
  listen(page.signal, take, status);
}

function listen(signal, take, status) {
  const source = new EventSource("api/leveret/events?kinds=log,event");
  signal.addEventListener("abort", () => source.close());
  source.addEventListener("open", () => {
    status.textContent = "Connected";
  });
  source.addEventListener("error", () => {
    status.textContent = source.readyState === EventSource.CLOSED ? "The broker does not offer its log." : "Connection lost, trying again …";
  });
  source.addEventListener("log", ({ data }) => {
    const told = parsed(data);
    if (told) take({ kind: "log", time: told.time, level: told.level, text: told.text });
  });
  source.addEventListener("event", ({ data }) => {
    const told = parsed(data);
    if (!told) return;
    const { name, time, timestamp, properties, ...others } = told;
    const details = Object.entries(properties ?? others).map(([key, value]) => `${key}=${plain(value)}`);
    take({ kind: "event", time: time ?? timestamp ?? Date.now(), level: "event", text: [name, ...details].join(" ") });
  });
}

function choices(state, redraw) {
  const level = select("level", LEVELS.map((one) => [one, one === "error" ? "errors only" : `${one} and worse`]), state.level, { "aria-label": "Level" });
  const kind = select("kind", [["all", "Log and events"], ["log", "Log"], ["event", "Events"]], state.kind, { "aria-label": "What is shown" });
  const text = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter lines" });
  const apply = () => {
    Object.assign(state, { level: level.value, kind: kind.value, text: text.value.toLowerCase() });
    redraw();
  };
  for (const control of [level, kind, text]) control.addEventListener("input", apply);
  return h("div", { class: "filter" }, text, kind, level);
}

function isWanted(line, { level, kind, text }) {
  if (kind !== "all" && line.kind !== kind) return false;
  if (line.kind === "log" && LEVELS.indexOf(line.level) > LEVELS.indexOf(level)) return false;
  return text === "" || line.text.toLowerCase().includes(text);
}

function lineView({ time, level, text }) {
  return h("li", null, h("time", null, clock(time)), h("span", { class: `level ${level}` }, level), h("span", { class: "log-text" }, text));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
