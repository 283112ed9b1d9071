// The message browser: looks into a queue without taking anything, page by page, searches headers and bodies, and
// sends dead letters back. Beside it RabbitMQ's get, which takes messages and may put them back.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { count, plural } from "../format.js";
import { button, check, field, formDialog, numberInput, numberOr, pair, select, showDialog, textInput } from "../form.js";
import { messageView } from "../message.js";
import { attempt, done } from "../notice.js";

const TRUNCATE = 2048;
const PAGE_SIZES = ["20", "50", "100"];
const ACK_MODES = [
  ["ack_requeue_true", "Put back in their place, as redelivered"],
  ["reject_requeue_true", "Put back by reject: counts as a delivery"],
  ["ack_requeue_false", "Acked: taken off the queue"],
  ["reject_requeue_false", "Rejected: taken off the queue, dead letters if so set"],
];

export function browser(page, vhost, name) {
  // Cursors of the pages before this one, for the way back.
  const state = { search: "", size: "50", after: null, before: [], next: null };
  const messages = h("div", { class: "messages" });
  const summary = h("p", { class: "summary", role: "status" });
  const back = button("‹ Earlier", () => turn(-1));
  const forth = button("Later ›", () => turn(1));
  const pages = h("nav", { class: "pages", "aria-label": "Pages of messages" }, back, forth);

  const load = async () => {
    const address = api.query(api.url("queues", vhost, name, "browse"), {
      after: state.after,
      count: state.size,
      search: state.search,
      truncate: TRUNCATE,
    });
    summary.textContent = "Reading …";
    let answer;
    try {
      answer = await api.get(address, page.signal);
    } catch (error) {
      summary.textContent = "";
      pages.hidden = true;
      fill(messages, h("p", { class: "fault", role: "alert" }, error.message));
      return;
    }
    state.next = answer.next;
    back.disabled = state.before.length === 0;
    forth.disabled = !state.next;
    pages.hidden = back.disabled && forth.disabled;
    const found = plural(answer.messages.length, "message");
    summary.textContent = state.search ? `${found} found in ${count(answer.searched)} searched` : `${found} shown`;
    const none = state.search ? "Nothing found." : "The queue is empty.";
    fill(messages, answer.messages.length > 0 ? answer.messages.map(messageView) : h("p", { class: "none" }, none));
  };
  const turn = (step) => {
    if (step > 0) {
      state.before.push(state.after);
      state.after = state.next;
    } else state.after = state.before.pop() ?? null;
    load();
  };
  const restart = () => {
    Object.assign(state, { after: null, before: [] });
    return load();
  };

  load();
  return {
    reload: restart,
    element: h(
      "section",
      { class: "list" },
      h("div", { class: "list-bar" }, searchForm(state, restart), summary, h("div", { class: "actions" }, [
        button("Refresh", restart),
        button("Move …", () => moveDialog(vhost, name, state.search, restart)),
        button("Get …", () => getDialog(vhost, name, restart)),
      ])),
      h("p", { class: "hint" }, "Browsing takes nothing: order, redelivered and counts stay as they are."),
      messages,
      pages,
    ),
  };
}

function searchForm(state, restart) {
  const search = h("input", { type: "search", name: "search", value: state.search, placeholder: "Search headers and payload", "aria-label": "Search headers and payload" });
  const size = select("size", PAGE_SIZES.map((one) => [one, `${one} per page`]), state.size, { "aria-label": "Messages per page" });
  const apply = (event) => {
    event?.preventDefault();
    Object.assign(state, { search: search.value.trim(), size: size.value });
    restart();
  };
  size.addEventListener("change", () => apply());
  search.addEventListener("search", () => search.value === "" && state.search !== "" && apply());
  return h("form", { role: "search", class: "filter", onsubmit: apply }, search, h("button", { type: "submit" }, "Search"), size);
}

/** Dead letters back to where they died, or messages elsewhere. */
function moveDialog(vhost, name, search, after) {
  const exchange = field("Exchange", textInput("exchange"), "Empty for the default one: the key is a queue's name.");
  const key = field("Routing key", textInput("routing_key"), "Empty keeps the key that each message has.");
  const elsewhere = h("div", { hidden: true }, pair(exchange, key));
  const target = select("to", [["origin", "To the queue or exchange where they died"], ["elsewhere", "To another exchange or queue"]], "origin");
  target.addEventListener("change", () => {
    elsewhere.hidden = target.value === "origin";
  });
  formDialog({
    title: `Move messages of ${name}`,
    action: "Move",
    danger: true,
    body: [
      h("p", null, "Messages leave this queue once they are safe where they go. The oldest go first."),
      field("Where", target),
      elsewhere,
      pair(
        field("At most", numberInput("count", "", { min: 1 }), "Messages; empty for all."),
        field("Only with", textInput("search", search), "Text in headers or payload."),
      ),
      check("trial", "Move nothing yet, only count"),
    ],
    submit: async (values) => {
      const destination = { exchange: values.exchange, routing_key: values.routing_key };
      const { moved, skipped } = await api.post(api.url("queues", vhost, name, "redrive"), {
        count: numberOr(values.count),
        search: values.search || null,
        to: values.to === "origin" ? "origin" : destination,
        dry_run: values.trial,
      });
      done(`${plural(moved, "message")} ${values.trial ? "would be " : ""}moved${skipped > 0 ? `, ${count(skipped)} left: no way back is known` : ""}.`);
      after();
    },
  });
}

function getDialog(vhost, name, after) {
  formDialog({
    title: `Get messages of ${name}`,
    action: "Get",
    danger: true,
    body: [
      h("p", null, "Consumers see this: messages are delivered to this page. To look only, browse."),
      field("Afterwards", select("ackmode", ACK_MODES, "ack_requeue_true")),
      pair(
        field("Messages", numberInput("count", "1", { min: 1, max: 1000, required: true })),
        field("Payload as", select("encoding", [["auto", "text where it is text"], ["base64", "Base64"]], "auto")),
      ),
    ],
    submit: async ({ ackmode, count: wanted, encoding }) => {
      const address = api.url("queues", vhost, name, "get");
      const got = await api.post(address, { ackmode, count: Number(wanted), encoding, truncate: 50_000 });
      // After this dialog is closed, and with the focus where it was.
      setTimeout(() => showGot(got));
      attempt(after);
    },
  });
}

function showGot(messages) {
  const inside = messages.length === 0 ? h("p", { class: "none" }, "The queue is empty.") : messages.map(messageView);
  showDialog(plural(messages.length, "message"), h("div", { class: "messages" }, inside));
}
