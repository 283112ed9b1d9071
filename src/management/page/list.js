// A list of the broker's things: filter, order and pages above and below a table that refreshes itself. The broker
// filters and sorts where its API pages; short lists without pages are filtered and sorted here.

import * as api from "./api.js";
import { fill, h, newId } from "./dom.js";
import { count } from "./format.js";
import { remember } from "./router.js";
import { Table } from "./table.js";

const PAGE_SIZES = [50, 100, 500];
const TYPING_MS = 250;

/**
 * `address` is asked every five seconds. `paged` says that the broker pages it; otherwise `text(row)` is what the
 * filter looks at.
 */
export function list(page, { address, paged, what, text, order, empty, ...tableOptions }) {
  const state = stateFrom(page.query, order);
  const table = new Table({
    ...tableOptions,
    empty: "Loading …",
    order: { by: state.sort, reverse: state.reverse },
    onSort: (chosen) => {
      Object.assign(state, { sort: chosen.by, reverse: chosen.reverse, page: 1 });
      changed();
    },
  });
  const summary = h("p", { class: "summary", role: "status" });
  const pages = h("nav", { class: "pages", "aria-label": "Pages" });
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  let turn = null;

  const changed = () => {
    remember(queryOf(state, order));
    turn?.now();
  };
  const load = async () => {
    try {
      const answer = await ask(address, paged, state, text, page.signal, tableOptions.columns);
      fault.hidden = true;
      table.say(state.name ? `Nothing matches “${state.name}”.` : empty);
      table.update(answer.items);
      const all = answer.total_count ?? answer.item_count;
      const some = state.name ? `${count(answer.filtered_count)} of ${count(all)}` : count(all);
      const words = `${some} ${answer.filtered_count === 1 && !state.name ? what.replace(/s$/, "") : what}`;
      if (summary.textContent !== words) summary.textContent = words;
      showPages(pages, answer, state, changed);
    } catch (error) {
      if (error.name === "AbortError") return;
      // The page that was shown is no longer there.
      if (error.status === 400 && state.page > 1) {
        state.page = 1;
        changed();
        return;
      }
      fault.textContent = error.message;
      fault.hidden = false;
    }
  };
  turn = page.every(5, load);

  return {
    element: h("section", { class: "list" }, h("div", { class: "list-bar" }, filter(state, what, changed), summary), fault, table.element, pages),
    refresh: () => turn.now(),
  };
}

function stateFrom(query, order) {
  return {
    name: query.name ?? "",
    regex: query.regex === "true",
    sort: query.sort ?? order?.by ?? "name",
    reverse: query.sort ? query.reverse === "true" : Boolean(order?.reverse),
    page: Number(query.page) || 1,
    size: PAGE_SIZES.includes(Number(query.size)) ? Number(query.size) : PAGE_SIZES[1],
  };
}

function queryOf({ name, regex, sort, reverse, page, size }, order) {
  const usual = sort === (order?.by ?? "name") && reverse === Boolean(order?.reverse);
  return {
    name,
    regex: regex ? "true" : "",
    sort: usual ? "" : sort,
    reverse: usual || !reverse ? "" : "true",
    page: page > 1 ? page : "",
    size: size === PAGE_SIZES[1] ? "" : size,
  };
}

async function ask(address, paged, state, text, signal, columns) {
  if (!paged) return slice(await api.get(address(), signal), state, text, columns);
  const answer = await api.get(
    api.query(address(), {
      page: state.page,
      page_size: state.size,
      name: state.name,
      use_regex: state.regex ? "true" : "false",
      sort: state.sort,
      sort_reverse: state.reverse,
      pagination: "true",
    }),
    signal,
  );
  return Array.isArray(answer) ? slice(answer, state, (row) => row.name, columns) : answer;
}

// The broker's part of the work, for lists that come whole.
function slice(rows, state, text, columns) {
  const fits = matcher(state);
  const found = rows.filter((row) => fits(text(row)));
  const column = columns.find(({ sort }) => sort === state.sort);
  // Numbers as they are, not as they are written.
  const value = (row) => (["number", "string"].includes(typeof row[state.sort]) ? row[state.sort] : column?.value(row));
  found.sort((a, b) => compare(value(a), value(b)) * (state.reverse ? -1 : 1));
  const pageCount = Math.max(1, Math.ceil(found.length / state.size));
  const page = Math.min(state.page, pageCount);
  return {
    items: found.slice((page - 1) * state.size, page * state.size),
    total_count: rows.length,
    filtered_count: found.length,
    page,
    page_count: pageCount,
  };
}

function matcher({ name, regex }) {
  if (!name) return () => true;
  if (!regex) return (text) => String(text).toLowerCase().includes(name.toLowerCase());
  try {
    const pattern = new RegExp(name, "i");
    return (text) => pattern.test(text);
  } catch {
    throw new Error(`${name} is not a regular expression.`);
  }
}

function compare(a, b) {
  if (typeof a === "number" || typeof b === "number") return (a ?? -1) - (b ?? -1);
  return String(a ?? "").localeCompare(String(b ?? ""));
}

function filter(state, what, changed) {
  const id = newId("filter");
  let timer = 0;
  const input = h("input", {
    id,
    type: "search",
    value: state.name,
    placeholder: `Filter ${what}`,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        Object.assign(state, { name: input.value, page: 1 });
        changed();
      }, TYPING_MS);
    },
  });
  const regex = h("input", {
    type: "checkbox",
    checked: state.regex,
    onchange: () => {
      Object.assign(state, { regex: regex.checked, page: 1 });
      changed();
    },
  });
  return h(
    "search",
    { class: "filter" },
    h("label", { for: id, class: "hidden" }, `Filter ${what} by name`),
    input,
    h("label", { class: "tick-label" }, regex, "Regex"),
  );
}

function showPages(nav, { page, page_count: pageCount }, state, changed) {
  nav.hidden = !(pageCount > 1);
  if (nav.hidden) return;
  const to = (number, label, text) =>
    h("button", {
      type: "button",
      "aria-label": label,
      disabled: number < 1 || number > pageCount,
      onclick: () => {
        state.page = number;
        changed();
      },
    }, text);
  fill(nav, to(page - 1, "Previous page", "‹"), h("span", null, `Page ${page} of ${pageCount}`), to(page + 1, "Next page", "›"));
}
