// The editor of argument tables: known arguments are chosen from a list and explained, others typed with their type.

import { h, newId } from "./dom.js";
import { select, textInput } from "./form.js";

const TYPES = ["string", "number", "boolean", "list", "table"];

/**
 * `catalogue`: see catalogue.js, or null for free names only. The editor's `read()` gives the table; it throws with
 * what is wrong, in words for the user.
 */
export function argumentEditor({ legend, catalogue = null, start = {}, addLabel = "Add an argument …" }) {
  const rows = h("div", { class: "argument-rows" });
  const readers = new Map();
  const add = (row) => {
    const remove = h("button", { type: "button", class: "plain", "aria-label": `Remove ${row.label}`, onclick: drop }, "×");
    const element = h("div", { class: "argument" }, row.element, remove);
    function drop() {
      readers.delete(element);
      element.remove();
      chooser.focus();
    }
    readers.set(element, row.read);
    rows.append(element);
    return element;
  };
  const known = new Map(Object.values(catalogue ?? {}).flat().map((entry) => [entry[0], entry]));
  const addNamed = (name, value) => add(known.has(name) ? knownRow(known.get(name), value) : freeRow(name, value));
  const chooser = catalogue ? choices(catalogue, addLabel) : h("button", { type: "button" }, addLabel);
  const chosen = () => {
    const name = catalogue ? chooser.value : "";
    if (catalogue && name === "-") return;
    if (catalogue) chooser.value = "-";
    addNamed(name).querySelector("input, select")?.focus();
  };
  chooser.addEventListener(catalogue ? "change" : "click", chosen);
  for (const [name, value] of Object.entries(start)) addNamed(name, value);

  const element = h("fieldset", { class: "arguments" }, h("legend", null, legend), rows, chooser);
  return {
    element,
    read() {
      const table = {};
      for (const read of readers.values()) {
        const [name, value] = read();
        if (name !== "") table[name] = value;
      }
      return table;
    },
  };
}

function choices(catalogue, label) {
  return h(
    "select",
    { "aria-label": label },
    h("option", { value: "-" }, label),
    Object.entries(catalogue).map(([group, entries]) =>
      h("optgroup", { label: group }, entries.map(([name, , title]) => h("option", { value: name }, title))),
    ),
    h("option", { value: "" }, "Another one"),
  );
}

function knownRow([name, kind, label, hint, options], value) {
  const id = newId("argument");
  const control = {
    number: () => h("input", { type: "number", value: value ?? "" }),
    flag: () => select(null, ["true", "false"], String(value ?? true)),
    choice: () => select(null, options, value),
    text: () => textInput(null, value ?? ""),
  }[kind]();
  control.id = id;
  control.setAttribute("aria-describedby", `${id}-hint`);
  const read = () => {
    if (kind === "flag") return [name, control.value === "true"];
    if (kind !== "number") return [name, control.value];
    if (control.value === "") throw new Error(`${label} has no value.`);
    return [name, Number(control.value)];
  };
  const title = h("label", { for: id }, label, h("code", null, name));
  return { label, read, element: h("div", { class: "argument-known" }, title, control, h("p", { class: "hint", id: `${id}-hint` }, hint)) };
}

function freeRow(name = "", value) {
  const key = textInput(null, name, { "aria-label": "Name", placeholder: "name" });
  const type = select(null, TYPES, typeOf(value), { "aria-label": "Type" });
  const text = value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const input = textInput(null, text, { "aria-label": "Value", placeholder: "value" });
  return {
    label: name || "this one",
    element: h("div", { class: "argument-free" }, key, type, input),
    read: () => [key.value.trim(), typed(key.value, input.value, type.value)],
  };
}

function typed(name, text, type) {
  if (type === "string") return text;
  if (type === "number") {
    const number = Number(text);
    if (text.trim() === "" || Number.isNaN(number)) throw new Error(`${name}: ${text || "nothing"} is not a number.`);
    return number;
  }
  if (type === "boolean") {
    if (!["true", "false"].includes(text)) throw new Error(`${name}: true or false.`);
    return text === "true";
  }
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${name}: not JSON.`);
  }
  if (Array.isArray(value) !== (type === "list") || typeof value !== "object" || value === null) {
    throw new Error(`${name}: not a ${type} in JSON.`);
  }
  return value;
}

function typeOf(value) {
  if (Array.isArray(value)) return "list";
  if (value === null || value === undefined) return "string";
  return typeof value === "object" ? "table" : typeof value;
}
