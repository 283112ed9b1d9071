// Everything that was declared, as a file: out, and in again after a look at what would change.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { plural } from "../format.js";
import { button, confirmDialog, field, select } from "../form.js";
import { attempt, done, failed } from "../notice.js";
import { card, grid } from "../parts.js";
import { vhostNames } from "../vhosts.js";

export default function definitions(page) {
  page.title("Definitions");
  const wholes = [["", "The whole broker"]];
  const from = select("from", wholes, "");
  const into = select("into", [["", "As the file says"]], "");
  vhostNames().then((names) => {
    for (const name of names) {
      from.append(h("option", { value: name }, `Virtual host ${name}`));
      into.append(h("option", { value: name }, `Virtual host ${name}`));
    }
  }, failed);

  page.show(
    grid(
      "halves",
      card(
        "Export",
        h("p", null, "Users, virtual hosts, permissions, policies, parameters, queues, exchanges and bindings, as RabbitMQ writes them. No messages. Passwords only as hashes; keep the file safe all the same."),
        field("What", from),
        h("div", { class: "actions" }, button("Download", () => attempt(() => download(from.value)), "primary")),
      ),
      importCard(into),
    ),
  );
}

const addressOf = (vhost) => (vhost ? api.url("definitions", vhost) : "api/definitions");

async function download(vhost) {
  const all = await api.get(addressOf(vhost));
  const blob = new Blob([JSON.stringify(all, null, 2), "\n"], { type: "application/json" });
  const address = URL.createObjectURL(blob);
  const day = new Date().toISOString().slice(0, 10);
  const name = vhost ? `-${vhost.replace(/[^\w.-]+/g, "_")}` : "";
  h("a", { href: address, download: `definitions${name}-${day}.json` }).click();
  // The download has taken its own hold of it by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function importCard(into) {
  const file = h("input", { type: "file", accept: ".json,application/json" });
  const result = h("div", { class: "changes", role: "status" });
  const look = button("Show what would change", () => attempt(preview), "primary");
  const read = async () => {
    if (file.files.length === 0) throw new Error("Choose a file first.");
    try {
      return JSON.parse(await file.files[0].text());
    } catch {
      throw new Error("This file is not JSON.");
    }
  };
  const preview = async () => {
    const content = await read();
    const answer = await api.post(api.query(addressOf(into.value), { dry_run: "true" }), content);
    const changes = answer?.changes ?? [];
    fill(
      result,
      h("h3", null, changes.length === 0 ? "Nothing would change." : plural(changes.length, "change")),
      h("ul", { class: "change-list" }, changes.map((text) => h("li", null, text))),
      changes.length > 0 && button("Import …", () => ask(content), "danger"),
    );
  };
  const ask = (content) =>
    confirmDialog({
      title: "Import these definitions?",
      text: "What is in the file is added, and changed where it is there already. Nothing is deleted.",
      action: "Import",
      submit: async () => {
        await api.post(addressOf(into.value), content);
        fill(result);
        file.value = "";
        done("Definitions are imported.");
      },
    });
  const stale = () => fill(result);
  file.addEventListener("change", stale);
  into.addEventListener("change", stale);
  return card(
    "Import",
    h("p", null, "A file of this broker, of RabbitMQ or of LavinMQ. What would change is shown before anything does."),
    field("File", file),
    field("Into", into),
    h("div", { class: "actions" }, look),
    result,
  );
}
