// Channels: their mode, what is unacked and unconfirmed, and their rates.

import { url } from "../api.js";
import { rate } from "../format.js";
import { list } from "../list.js";
import { badge, named, state, to } from "../parts.js";
import { rateOf } from "../samples.js";
import { vhost } from "../session.js";

export default function channels(page) {
  page.title("Channels");
  const view = list(page, {
    address: () => (vhost() ? url("vhosts", vhost(), "channels") : "api/channels"),
    paged: true,
    what: "channels",
    caption: "Channels",
    empty: "No channel is open.",
    key: ({ name }) => name,
    columns: channelColumns(true),
  });
  page.show(view.element);
}

const statRate = (name) => (row) => rate(rateOf(row.message_stats, name));

/** `full` has what the list needs and a connection's own channels do not. */
export function channelColumns(full) {
  return [
    {
      title: "Channel",
      sort: "name",
      wide: true,
      value: (row) => [row.name, row.vhost],
      render: (row) => {
        const anchor = to(["channels", row.name], full ? row.name : `Channel ${row.number}`);
        return full ? named(anchor, row.vhost) : anchor;
      },
    },
    full && { title: "User", sort: "user", rank: 3, value: ({ user }) => user },
    { title: "State", sort: "state", rank: 2, value: ({ state: now }) => now, render: ({ state: now }) => state(now) },
    {
      title: "Mode",
      rank: 3,
      value: (row) => [row.confirm, row.transactional],
      render: (row) => [row.confirm && badge("C", "Publisher confirms"), row.transactional && badge("T", "Transactions")],
    },
    { title: "Prefetch", sort: "prefetch_count", number: true, rank: 3, value: (row) => row.prefetch_count || row.global_prefetch_count || "none" },
    { title: "Consumers", sort: "consumer_count", number: true, rank: 3, value: (row) => row.consumer_count },
    { title: "Unacked", sort: "messages_unacknowledged", number: true, value: (row) => row.messages_unacknowledged },
    { title: "Unconfirmed", sort: "messages_unconfirmed", number: true, rank: 3, value: (row) => row.messages_unconfirmed },
    { title: "Publish", sort: "message_stats.publish_details.rate", number: true, value: statRate("publish") },
    { title: "Confirm", sort: "message_stats.confirm_details.rate", number: true, rank: 2, value: statRate("confirm") },
    { title: "Deliver", sort: "message_stats.deliver_get_details.rate", number: true, value: statRate("deliver_get") },
    { title: "Ack", sort: "message_stats.ack_details.rate", number: true, rank: 2, value: statRate("ack") },
  ].filter(Boolean);
}
