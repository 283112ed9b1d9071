// Who consumes from what.

import { url } from "../api.js";
import { yesNo } from "../format.js";
import { list } from "../list.js";
import { badge, named, queueLink, to } from "../parts.js";
import { vhost } from "../session.js";

export default function consumers(page) {
  page.title("Consumers");
  const view = list(page, {
    address: () => (vhost() ? url("consumers", vhost()) : "api/consumers"),
    paged: false,
    text: (row) => `${row.queue.name} ${row.consumer_tag} ${row.channel_details?.name}`,
    what: "consumers",
    caption: "Consumers",
    empty: "Nobody consumes.",
    order: { by: "queue" },
    key: (row) => `${row.channel_details?.name} ${row.consumer_tag}`,
    columns: [
      {
        title: "Queue",
        sort: "queue",
        wide: true,
        value: ({ queue }) => `${queue.name} ${queue.vhost}`,
        render: ({ queue }) => named(queueLink(queue.vhost, queue.name), queue.vhost),
      },
      ...consumerColumns(),
    ],
  });
  page.show(view.element);
}

/** What a queue's own consumers have, too. */
export function consumerColumns() {
  return [
    { title: "Consumer tag", sort: "consumer_tag", wide: true, value: (row) => row.consumer_tag },
    {
      title: "Channel",
      sort: "channel",
      rank: 2,
      wide: true,
      value: (row) => row.channel_details?.name,
      render: ({ channel_details: channel }) => (channel?.name ? to(["channels", channel.name], channel.name) : "gone"),
    },
    { title: "Acks", sort: "ack", rank: 2, value: (row) => (row.ack_required ? "by consumer" : "automatic") },
    { title: "Prefetch", sort: "prefetch", number: true, value: (row) => row.prefetch_count || "none" },
    { title: "Exclusive", rank: 3, value: (row) => yesNo(row.exclusive) },
    {
      title: "Active",
      rank: 3,
      value: (row) => [row.active, row.activity_status],
      render: (row) => (row.active === false ? badge(row.activity_status ?? "waiting", "Gets nothing now") : "yes"),
    },
  ];
}
