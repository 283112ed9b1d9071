// The first page: name and password for a session.

import { h } from "../dom.js";
import { field } from "../form.js";
import { hare } from "../icons.js";
import * as session from "../session.js";

export default function login(onEnter) {
  document.title = "leveret";
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const name = h("input", { name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password" });
  const submit = async (event) => {
    event.preventDefault();
    fault.hidden = true;
    try {
      await session.logIn(name.value, password.value);
    } catch (error) {
      fault.textContent = error.status === 401 ? "Name or password is wrong, or this user may not log in here." : error.message;
      fault.hidden = false;
      password.select();
      return;
    }
    onEnter();
  };
  return h(
    "main",
    { class: "login" },
    h(
      "form",
      { class: "card", method: "post", onsubmit: submit },
      h("div", { class: "login-mark" }, hare(56), h("h1", null, "leveret")),
      field("Name", name),
      field("Password", password),
      fault,
      h("button", { type: "submit", class: "primary" }, "Log in"),
    ),
  );
}
