// One virtual host: what it is, who may enter, its limits, tracing, protection, and the end.

import * as api from "../api.js";
import { count, yesNo } from "../format.js";
import { button, confirmDialog, formDialog } from "../form.js";
import { attempt, done } from "../notice.js";
import { watch } from "../page.js";
import { cardWith, facts, grid, tellFacts, to } from "../parts.js";
import { go } from "../router.js";
import { limitsCard } from "./limits.js";
import { permissionsCard, topicPermissionsCard } from "./permissions.js";
import { metadataFields, metadataFrom, typeOf } from "./vhosts.js";

export default function vhost(page) {
  const { name } = page.params;
  page.title(name, to(["admin", "vhosts"], "Virtual hosts"));
  let now = null;
  const about = facts([]);
  const reload = () => turn.now();
  const permissions = permissionsCard({ vhost: name, after: reload });
  const topics = topicPermissionsCard({ vhost: name, after: reload });
  const limits = limitsCard({ kind: "vhost", name, after: reload });
  const tracing = button("Trace", () => now && setTracing(now, reload));
  const protection = button("Protect", () => now && setProtection(now, reload));
  const change = button("Change …", () => now && changeDialog(now, reload));
  page.actions.append(button("Delete …", () => remove(name), "danger"));
  page.show(grid("halves", cardWith("Virtual host", [tracing, protection, change], about), limits.element), permissions.element, topics.element);

  const load = async () => {
    const [self, own, topic, limit] = await Promise.all([
      api.get(api.url("vhosts", name), page.signal),
      api.get(api.url("vhosts", name, "permissions"), page.signal),
      api.getIfAny(api.url("vhosts", name, "topic-permissions"), page.signal),
      api.getIfAny(api.url("vhost-limits", name), page.signal),
    ]);
    return { self, own, topic, limit };
  };
  const turn = watch(page, 5, load, ({ self, own, topic, limit }) => {
    now = self;
    tracing.textContent = self.tracing ? "Stop tracing" : "Trace";
    protection.textContent = isProtected(self) ? "Unprotect" : "Protect";
    tellFacts(about, factsOf(self));
    permissions.tell(own);
    topics.tell(topic ?? []);
    limits.tell(limit?.[0]?.value ?? {});
  });
}

const isProtected = (self) => Boolean(self.protected_from_deletion ?? self.metadata?.protected_from_deletion);

function factsOf(self) {
  return [
    ["Description", self.description || self.metadata?.description || "none"],
    ["Tags", (self.tags ?? []).join(", ") || "none"],
    ["Default queue type", typeOf(self)],
    ["Tracing", self.tracing ? "on: copies of messages go to amq.rabbitmq.trace" : "off"],
    ["Protected from deletion", yesNo(isProtected(self))],
    ["Ready", count(self.messages_ready ?? 0)],
    ["Unacked", count(self.messages_unacknowledged ?? 0)],
  ];
}

function setTracing(self, after) {
  const tracing = !self.tracing;
  return attempt(() => api.put(api.url("vhosts", self.name), { tracing }), tracing ? "Tracing is on." : "Tracing is off.").then(after);
}

function setProtection(self, after) {
  const address = api.url("vhosts", self.name, "deletion", "protection");
  const work = isProtected(self) ? () => api.remove(address) : () => api.post(address);
  return attempt(work, isProtected(self) ? "No longer protected." : "Protected from deletion.").then(after);
}

function changeDialog(self, after) {
  formDialog({
    title: `Virtual host ${self.name}`,
    action: "Change",
    body: metadataFields(self),
    submit: async (values) => {
      await api.put(api.url("vhosts", self.name), metadataFrom(values));
      done("Changed.");
      after();
    },
  });
}

function remove(name) {
  confirmDialog({
    title: `Delete virtual host ${name}?`,
    text: "All its queues with their messages, exchanges, bindings, policies and permissions are deleted for good, and its connections closed.",
    action: "Delete virtual host",
    typed: name,
    submit: async () => {
      await api.remove(api.url("vhosts", name));
      done(`Virtual host ${name} is deleted.`);
      go(["admin", "vhosts"]);
    },
  });
}
