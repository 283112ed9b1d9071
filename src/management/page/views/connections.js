// Connections, newest facts first: who, from where, how much.

import { url } from "../api.js";
import { byteRate, moment } from "../format.js";
import { list } from "../list.js";
import { named, state, to } from "../parts.js";
import { vhost } from "../session.js";

export default function connections(page) {
  page.title("Connections");
  const view = list(page, {
    address: () => (vhost() ? url("vhosts", vhost(), "connections") : "api/connections"),
    paged: true,
    what: "connections",
    caption: "Connections",
    empty: "Nobody is connected.",
    key: ({ name }) => name,
    columns: [
      {
        title: "Name",
        sort: "name",
        wide: true,
        value: (row) => [row.name, nameOf(row), row.vhost],
        render: (row) => named(to(["connections", row.name], nameOf(row) ?? row.name), row.vhost),
      },
      { title: "User", sort: "user", rank: 2, value: ({ user }) => user },
      { title: "State", sort: "state", value: ({ state: now }) => now, render: ({ state: now }) => state(now) },
      { title: "From", sort: "peer_host", rank: 3, value: ({ peer_host: host, peer_port: port }) => `${host}:${port}` },
      { title: "TLS", rank: 3, value: ({ ssl }) => (ssl ? "yes" : "no") },
      { title: "Protocol", sort: "protocol", rank: 3, value: ({ protocol }) => protocol },
      { title: "Channels", sort: "channels", number: true, rank: 2, value: ({ channels }) => channels },
      { title: "In", sort: "recv_oct_details.rate", number: true, value: (row) => byteRate(row.recv_oct_details?.rate) },
      { title: "Out", sort: "send_oct_details.rate", number: true, value: (row) => byteRate(row.send_oct_details?.rate) },
      { title: "Since", sort: "connected_at", rank: 3, value: ({ connected_at: time }) => moment(time) },
    ],
  });
  page.show(view.element);
}

/** The name that the client gave itself. */
export const nameOf = (row) => row.user_provided_name ?? row.client_properties?.connection_name;
