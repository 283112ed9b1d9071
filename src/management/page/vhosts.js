// Which virtual host a new thing is made in.

import * as api from "./api.js";
import { field, select } from "./form.js";
import { vhost } from "./session.js";

/** Names of the virtual hosts that the user may see. */
export async function vhostNames() {
  const all = await api.get("api/vhosts");
  return all.map(({ name }) => name);
}

/** A field `vhost`, with the one that lists are limited to chosen. */
export async function vhostField(label = "Virtual host") {
  const names = await vhostNames();
  const chosen = names.includes(vhost()) ? vhost() : names.includes("/") ? "/" : names[0];
  return field(label, select("vhost", names, chosen));
}
