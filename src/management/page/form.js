// Fields with labels, forms in dialogs, and the question before anything is destroyed.

import { fill, h, newId } from "./dom.js";

/** A labelled control. `hint` is a sentence under it. */
export function field(label, control, hint) {
  control.id ||= newId("field");
  const note = hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

export const textInput = (name, value = "", more = {}) =>
  h("input", { name, type: "text", autocomplete: "off", spellcheck: "false", value, ...more });

export const numberInput = (name, value = "", more = {}) =>
  h("input", { name, type: "number", inputmode: "numeric", value, ...more });

/** `options`: values, or `[value, label]`. */
export function select(name, options, value, more = {}) {
  const element = h(
    "select",
    { name, ...more },
    options.map((option) => {
      const [own, label] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: own, selected: own === value }, label);
    }),
  );
  return element;
}

export function check(name, label, checked = false) {
  return h("label", { class: "tick-label" }, h("input", { name, type: "checkbox", checked }), label);
}

export const pair = (...fields) => h("div", { class: "pair" }, fields);

/**
 * A form in a dialog. `submit(values, form)` does the work; what it throws is shown and the dialog stays. `values`
 * has every named control: text, or true and false for check boxes.
 */
export function formDialog({ title, body, action, danger = false, wide = false, submit }) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const heading = h("h2", { id: newId("dialog") }, title);
  const form = h(
    "form",
    { method: "dialog" },
    heading,
    h("div", { class: "dialog-body" }, body, fault),
    h("div", { class: "dialog-foot" }, cancel, go),
  );
  const dialog = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": heading.id }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.hidden = true;
    go.disabled = true;
    try {
      await submit(valuesOf(form), form);
      dialog.close();
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
      fault.scrollIntoView({ block: "nearest" });
    } finally {
      go.disabled = false;
    }
  });
  open(dialog);
  return dialog;
}

/** Asks before something is destroyed; `typed` must be typed where there is no way back. */
export function confirmDialog({ title, text, action, typed, body, submit }) {
  const input = typed ? textInput("typed", "", { required: true }) : null;
  const fields = [
    h("p", null, text),
    body,
    input && field(`Type ${typed} to go on`, input),
  ];
  return formDialog({
    title,
    body: fields,
    action,
    danger: true,
    submit: async (values) => {
      if (typed && values.typed !== typed) throw new Error(`That is not ${typed}.`);
      await submit(values);
    },
  });
}

/** Shows something in a dialog that is only closed. */
export function showDialog(title, ...body) {
  const heading = h("h2", { id: newId("dialog") }, title);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog",
    { class: "wide", "aria-labelledby": heading.id },
    heading,
    h("div", { class: "dialog-body" }, body),
    h("div", { class: "dialog-foot" }, close),
  );
  open(dialog);
  return dialog;
}

export function valuesOf(form) {
  const values = {};
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "radio") {
      if (control.checked) values[control.name] = control.value;
    } else values[control.name] = control.type === "checkbox" ? control.checked : control.value;
  }
  return values;
}

/** A form that stays on the page. */
export function inlineForm({ label, body, action, submit }) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const form = h("form", { class: "inline-form", "aria-label": label }, body, h("button", { type: "submit" }, action), fault);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.hidden = true;
    try {
      await submit(valuesOf(form));
      form.reset();
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
  });
  return form;
}

/** `null` for an empty field, else its number. */
export const numberOr = (text, otherwise = null) => (text === "" ? otherwise : Number(text));

/** A button that opens something or acts. */
export const button = (label, onclick, kind) => h("button", { type: "button", class: kind, onclick }, label);

export function replaceOptions(element, options, value) {
  fill(element, options.map(([own, label]) => h("option", { value: own, selected: own === value }, label)));
}

function open(dialog) {
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
