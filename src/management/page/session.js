// Who is logged in, what that user may see, and the virtual host that lists are about.

import * as api from "./api.js";

let user = null;

export const current = () => user;

/** The user of the cookie's session, or null. */
export async function resume() {
  try {
    user = normal(await api.get("api/whoami"));
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    user = null;
  }
  return user;
}

export async function logIn(username, password) {
  user = normal(await api.post("api/session", { username, password }));
}

export async function logOut() {
  try {
    await api.remove("api/session");
  } finally {
    user = null;
  }
}

export const forget = () => {
  user = null;
};

// RabbitMQ: each tag of the left includes those on the right.
const INCLUDES = {
  administrator: ["monitoring", "policymaker", "management"],
  monitoring: ["management"],
  policymaker: ["management"],
};

/** Whether the user has this tag or one that includes it. */
export function may(tag) {
  return (user?.tags ?? []).some((own) => own === tag || INCLUDES[own]?.includes(tag));
}

/** The virtual host that lists are limited to; empty for all. */
export const vhost = () => stored("leveret-vhost") ?? "";

let known = 1;

/** Says how many virtual hosts there are: with one alone its name need not be told everywhere. */
export const countVhosts = (number) => {
  known = number;
};
export const severalVhosts = () => known > 1;

export function chooseVhost(name) {
  try {
    localStorage.setItem("leveret-vhost", name);
  } catch {
    // Without storage the choice lasts until the next page.
  }
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function normal({ name, tags }) {
  const list = Array.isArray(tags) ? tags : String(tags ?? "").split(",");
  return { name, tags: list.map((tag) => tag.trim()).filter(Boolean) };
}
