// Requests to the broker's HTTP API, as the session that the cookie names.

/** The broker refused, or could not be reached (`status` 0). `message` is its reason. */
export class ApiError extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** Fired on `document` when the session is over. */
export const LOGGED_OUT = "leveret:logged-out";

// Proves to the broker that a page of its own sends this, not a form on somebody else's site.
const OURS = { "X-Requested-With": "leveret" };

/** `api/` and the parts, each escaped. Relative, so that the page may live under a prefix. */
export function url(...parts) {
  return `api/${parts.map(encodeURIComponent).join("/")}`;
}

export function query(address, values) {
  const given = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "");
  return given.length === 0 ? address : `${address}?${new URLSearchParams(given)}`;
}

export const get = (address, signal) => request("GET", address, { signal });
export const put = (address, body = {}) => request("PUT", address, { body });
export const post = (address, body = {}) => request("POST", address, { body });
export const remove = (address, headers = {}) => request("DELETE", address, { headers });

/** What `address` has, or null where the broker has none or does not show it to this user. */
export async function getIfAny(address, signal) {
  try {
    return await get(address, signal);
  } catch (error) {
    if ([400, 401, 403, 404, 405, 500, 501].includes(error.status)) return null;
    throw error;
  }
}

/** The name of the default exchange in addresses. */
export const exchangeInUrl = (name) => name || "amq.default";

async function request(method, address, { body, headers, signal } = {}) {
  const init = { method, signal, headers: { ...OURS, ...headers }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(address, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The broker cannot be reached.");
  }
  const text = await response.text();
  if (response.ok) return text === "" ? null : parsed(text);
  if (response.status === 401 && !QUIET.has(address)) checkSession();
  throw new ApiError(response.status, reasonOf(response, text));
}

// RabbitMQ answers 401 to those who may not, too: who may not even ask who they are is logged out.
async function checkSession() {
  const response = await fetch("api/whoami", { headers: OURS, cache: "no-store" }).catch(() => null);
  if (response?.status === 401) document.dispatchEvent(new Event(LOGGED_OUT));
}

// Where 401 is an answer like others: no session yet, or a wrong password.
const QUIET = new Set(["api/whoami", "api/session"]);

function reasonOf(response, text) {
  const answer = parsed(text);
  const reason = answer?.reason ?? answer?.error;
  if (typeof reason === "string" && reason !== "") return reason;
  return reason ? JSON.stringify(reason) : `${response.status} ${response.statusText}`.trim();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
