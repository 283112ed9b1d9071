// Addresses behind the `#`, so that every view can be bookmarked and no server route is needed for it.

/** `#/queues/%2F/orders?tab=messages` of its parts. */
export function link(parts, values = {}) {
  const given = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "");
  const tail = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
  return `#/${parts.map(encodeURIComponent).join("/")}${tail}`;
}

/** The parts and the query of the address that is shown now. */
export function here() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const parts = path === "" ? [] : path.split("/").map(decoded);
  return { parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

export function go(parts, values) {
  location.hash = link(parts, values);
}

/** Changes the query of the address without a new entry in the history and without a new view. */
export function remember(values) {
  const { parts, query } = here();
  history.replaceState(null, "", link(parts, { ...query, ...values }));
}

/** The first route whose pattern fits (`["queues", ":vhost", ":name"]`), with the values of its names. */
export function match(routes, parts) {
  for (const route of routes) {
    const params = fits(route.pattern, parts);
    if (params) return { route, params };
  }
  return null;
}

function fits(pattern, parts) {
  if (pattern.length !== parts.length) return null;
  const params = {};
  for (const [index, word] of pattern.entries()) {
    if (word.startsWith(":")) params[word.slice(1)] = parts[index];
    else if (word !== parts[index]) return null;
  }
  return params;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
