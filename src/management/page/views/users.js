// Users, their tags, and where they may go.

import * as api from "../api.js";
import { h } from "../dom.js";
import { button, field, formDialog, textInput } from "../form.js";
import { list } from "../list.js";
import { done } from "../notice.js";
import { badge, to } from "../parts.js";
import { link } from "../router.js";
import { TAGS } from "../catalogue.js";

/** Tags as a list, whichever way the broker tells them. */
export const tagsOf = ({ tags }) => (Array.isArray(tags) ? tags : String(tags ?? "").split(",")).map((tag) => tag.trim()).filter(Boolean);

export default function users(page) {
  page.title("Users");
  let rights = new Map();
  const view = list(page, {
    address: () => "api/users",
    paged: false,
    text: ({ name }) => name,
    what: "users",
    caption: "Users",
    empty: "There is no user.",
    key: ({ name }) => name,
    columns: [
      { title: "Name", sort: "name", wide: true, value: ({ name }) => name, render: ({ name }) => to(["admin", "users", name], name) },
      { title: "Tags", value: tagsOf, render: (row) => tagsOf(row).map((tag) => badge(tag, TAGS[tag])) },
      {
        title: "Virtual hosts",
        value: ({ name }) => rights.get(name) ?? [],
        render: ({ name }) => rights.get(name)?.join(", ") ?? h("span", { class: "dim" }, "none"),
      },
      { title: "Password", rank: 2, value: ({ password_hash: hash }) => (hash ? "set" : "none") },
    ],
  });
  page.every(5, async () => {
    const all = await api.getIfAny("api/permissions", page.signal).catch(() => null);
    if (!all || page.signal.aborted) return;
    rights = vhostsByUser(all);
    view.refresh();
  });
  page.actions.append(button("Add user …", () => addDialog(view.refresh), "primary"));
  page.show(view.element);
}

function vhostsByUser(rows) {
  const all = new Map();
  for (const { user, vhost } of rows) all.set(user, [...(all.get(user) ?? []), vhost]);
  return all;
}

function addDialog(refresh) {
  formDialog({
    title: "Add user",
    action: "Add user",
    body: [
      field("Name", textInput("name", "", { required: true })),
      field("Password", h("input", { name: "password", type: "password", autocomplete: "new-password", required: true })),
      tagFields([]),
    ],
    submit: async (values) => {
      await api.put(api.url("users", values.name), { password: values.password, tags: tagsFrom(values) });
      done(`User ${values.name} is there. Permissions are still to be given.`);
      location.hash = link(["admin", "users", values.name]);
      refresh();
    },
  });
}

/** Check boxes for the tags that mean something, and a field for others. */
export function tagFields(own) {
  const others = own.filter((tag) => !(tag in TAGS));
  return h(
    "fieldset",
    null,
    h("legend", null, "Tags"),
    Object.entries(TAGS).map(([tag, means]) =>
      h("label", { class: "tick-label" }, h("input", { type: "checkbox", name: `tag-${tag}`, checked: own.includes(tag) }), h("span", null, h("b", null, tag), " ", h("span", { class: "dim" }, means))),
    ),
    field("Others", textInput("tags", others.join(", ")), "Separated by commas."),
  );
}

/** The value of `tags` in requests. */
export function tagsFrom(values) {
  const known = Object.keys(TAGS).filter((tag) => values[`tag-${tag}`]);
  const others = values.tags.split(",").map((tag) => tag.trim()).filter(Boolean);
  return [...known, ...others].join(",");
}
