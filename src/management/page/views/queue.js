// One queue: what moves through it, who consumes, what is bound, what is in it.

import * as api from "../api.js";
import { fill } from "../dom.js";
import { count, plural } from "../format.js";
import { button, confirmDialog } from "../form.js";
import { done } from "../notice.js";
import { watch } from "../page.js";
import { features, hostMark, state, tabs, to } from "../parts.js";
import { publishDialog } from "../publish.js";
import { go, link } from "../router.js";
import { bindingsOf } from "./bindings.js";
import { browser } from "./browser.js";
import { queueOverview } from "./queue_overview.js";

export default function queue(page) {
  const { vhost, name } = page.params;
  page.title(name, to(["queues"], "Queues"));
  let now = { messages: 0 };
  const at = (values) => link(["queues", vhost, name], values);
  const tab = ["messages", "bindings"].includes(page.query.tab) ? page.query.tab : "overview";
  const parts = { overview: queueOverview, messages: browser, bindings: bindings };
  const part = parts[tab](page, vhost, name);
  const reload = () => {
    turn.now();
    part.reload?.();
  };
  page.actions.append(
    button("Publish …", () => publishDialog({ vhost, exchange: "", routingKey: name, fixed: true, after: reload })),
    button("Purge …", () => purge(vhost, name, now, reload)),
    button("Delete …", () => remove(vhost, name, now), "danger"),
  );
  const shown = [["overview", "Overview", at()], ["messages", "Messages", at({ tab: "messages" })], ["bindings", "Bindings", at({ tab: "bindings" })]];
  page.show(tabs("Parts of this queue", shown, tab), part.element);

  const address = api.url("queues", vhost, name);
  let first = true;
  const load = () => {
    const asked = first ? api.query(address, part.history ?? {}) : address;
    return api.get(asked, page.signal);
  };
  const turn = watch(page, 2, load, (thing) => {
    now = thing;
    const mark = JSON.stringify([thing.state, thing.policy, thing.operator_policy, thing.arguments]);
    if (page.beside.dataset.mark !== mark) {
      page.beside.dataset.mark = mark;
      fill(page.beside, hostMark(vhost), state(thing.state), features(thing));
    }
    part.tell?.(thing, first);
    first = false;
  });
}

function bindings(page, vhost, name) {
  return bindingsOf(page, { vhost, kind: "queue", name });
}

function purge(vhost, name, now, after) {
  confirmDialog({
    title: `Purge ${name}?`,
    text: `Ready messages that are deleted for good: ${count(now.messages_ready ?? 0)}. Unacked ones stay with their consumers.`,
    action: "Purge",
    submit: async () => {
      await api.remove(api.url("queues", vhost, name, "contents"));
      done(`${name} is purged.`);
      after();
    },
  });
}

function remove(vhost, name, now) {
  const consumers = now.consumers > 0 ? ` Consumers that lose it: ${count(now.consumers)}.` : "";
  confirmDialog({
    title: `Delete ${name}?`,
    text: `The queue, its bindings and ${plural(now.messages ?? 0, "message")} are deleted for good.${consumers}`,
    action: "Delete queue",
    submit: async () => {
      await api.remove(api.url("queues", vhost, name));
      done(`Queue ${name} is deleted.`);
      go(["queues"]);
    },
  });
}
