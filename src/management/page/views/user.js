// One user: tags, password, permissions, limits, and the end.

import * as api from "../api.js";
import { TAGS } from "../catalogue.js";
import { h } from "../dom.js";
import { button, confirmDialog, field, formDialog } from "../form.js";
import { done } from "../notice.js";
import { watch } from "../page.js";
import { badge, cardWith, grid, tellFacts, facts, to } from "../parts.js";
import { go } from "../router.js";
import { current } from "../session.js";
import { limitsCard } from "./limits.js";
import { permissionsCard, topicPermissionsCard } from "./permissions.js";
import { tagFields, tagsFrom, tagsOf } from "./users.js";

export default function user(page) {
  const { name } = page.params;
  page.title(name, to(["admin", "users"], "Users"));
  let now = null;
  const about = facts([]);
  const reload = () => turn.now();
  const permissions = permissionsCard({ user: name, after: reload });
  const topics = topicPermissionsCard({ user: name, after: reload });
  const limits = limitsCard({ kind: "user", name, after: reload });
  page.actions.append(button("Delete …", () => remove(name), "danger"));
  page.show(
    grid(
      "halves",
      cardWith("User", [button("Change tags …", () => now && tagsDialog(now, reload)), button("Change password …", () => now && passwordDialog(now, reload))], about),
      limits.element,
    ),
    permissions.element,
    topics.element,
  );

  const load = async () => {
    const [self, own, topic, limit] = await Promise.all([
      api.get(api.url("users", name), page.signal),
      api.get(api.url("users", name, "permissions"), page.signal),
      api.getIfAny(api.url("users", name, "topic-permissions"), page.signal),
      api.getIfAny(api.url("user-limits", name), page.signal),
    ]);
    return { self, own, topic, limit };
  };
  const turn = watch(page, 5, load, ({ self, own, topic, limit }) => {
    now = self;
    const tags = tagsOf(self);
    tellFacts(about, [
      ["Tags", tags.length > 0 ? h("span", { class: "badges" }, tags.map((tag) => badge(tag, TAGS[tag]))) : "none: may not log in here"],
      ["Password", self.password_hash ? "set" : "none: may not log in with one"],
      ["Hash", self.hashing_algorithm?.replace("rabbit_password_hashing_", "")],
    ]);
    permissions.tell(own);
    topics.tell(topic ?? []);
    limits.tell(limit?.[0]?.value ?? {});
  });
}

// The password has to be said again with every change of a user, and its hash is good for that.
function tagsDialog(now, after) {
  formDialog({
    title: `Tags of ${now.name}`,
    action: "Change tags",
    body: tagFields(tagsOf(now)),
    submit: async (values) => {
      const { password_hash: hash = "", hashing_algorithm: algorithm } = now;
      await api.put(api.url("users", now.name), { password_hash: hash, hashing_algorithm: algorithm, tags: tagsFrom(values) });
      done("Tags are changed.");
      after();
    },
  });
}

function passwordDialog(now, after) {
  const password = h("input", { name: "password", type: "password", autocomplete: "new-password" });
  const again = h("input", { name: "again", type: "password", autocomplete: "new-password" });
  formDialog({
    title: `Password of ${now.name}`,
    action: "Change password",
    body: [field("New password", password, "Empty for none: this user may then not log in with a password."), field("The same again", again)],
    submit: async (values) => {
      if (values.password !== values.again) throw new Error("The two are not the same.");
      const secret = values.password === "" ? { password_hash: "" } : { password: values.password };
      await api.put(api.url("users", now.name), { ...secret, tags: tagsOf(now).join(",") });
      done("Password is changed.");
      after();
    },
  });
}

function remove(name) {
  confirmDialog({
    title: `Delete user ${name}?`,
    text: name === current()?.name ? "This is you: you will be logged out." : "Connections of this user are closed, permissions and limits deleted.",
    action: "Delete user",
    typed: name,
    submit: async () => {
      await api.remove(api.url("users", name));
      done(`User ${name} is deleted.`);
      go(["admin", "users"]);
    },
  });
}
