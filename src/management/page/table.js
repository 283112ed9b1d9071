// Tables that are updated in place: a row keeps its element as long as its key is there, a cell as long as its value
// is the same, so that focus, selection and scroll survive a refresh.

import { fill, h } from "./dom.js";
import { plain } from "./format.js";

// What is quiet does not ask for attention.
const ZERO = /^0($|\/s$| B)/;

/**
 * Columns are `{title, value(row), render(row), number, rank, sort, wide}`: `value` is what is compared and, without
 * `render`, shown; `sort` the broker's name of what it sorts by; `rank` 2 and 3 go first where there is little room.
 */
export class Table {
  constructor({ caption, columns, key, empty, order = null, onSort = null }) {
    Object.assign(this, { columns, key, empty, order, onSort });
    this.rows = new Map();
    this.heads = columns.map((column) => this.head(column));
    this.body = h("tbody");
    this.none = h("p", { class: "none", hidden: true }, empty);
    this.element = h(
      "div",
      { class: "table-box", role: "region", "aria-label": caption, tabindex: 0 },
      h("table", null, h("caption", { class: "hidden" }, caption), h("thead", null, h("tr", null, this.heads)), this.body),
      this.none,
    );
    this.showOrder();
  }

  update(list) {
    const next = new Map();
    for (const row of list) {
      const key = this.key(row);
      const known = this.rows.get(key) ?? { element: h("tr"), cells: [] };
      this.fillRow(known, row);
      next.set(key, known);
    }
    this.rows = next;
    const wanted = [...next.values()].map(({ element }) => element);
    const same = wanted.length === this.body.children.length && wanted.every((row, i) => row === this.body.children[i]);
    if (!same) fill(this.body, wanted);
    this.none.hidden = list.length > 0;
    this.element.classList.toggle("is-empty", list.length === 0);
  }

  say(text) {
    this.none.textContent = text;
  }

  fillRow(known, row) {
    for (const [index, column] of this.columns.entries()) {
      const value = column.value ? column.value(row) : undefined;
      const mark = typeof value === "object" ? JSON.stringify(value) : value;
      const cell = known.cells[index];
      if (cell && cell.mark === mark) continue;
      const isZero = Boolean(column.number) && ZERO.test(mark);
      const content = column.render ? column.render(row) : plain(value);
      if (cell) {
        cell.mark = mark;
        cell.element.classList.toggle("zero", isZero);
        fill(cell.element, content);
        continue;
      }
      const first = index === 0;
      const element = h(first ? "th" : "td", { class: classOf(column), scope: first ? "row" : null }, content);
      element.classList.toggle("zero", isZero);
      known.cells[index] = { element, mark };
      known.element.append(element);
    }
  }

  head(column) {
    const inside = column.sort && this.onSort ? this.sorter(column) : column.title;
    return h("th", { scope: "col", class: classOf(column), title: column.hint }, inside);
  }

  sorter(column) {
    const click = () => {
      const again = this.order?.by === column.sort;
      // Numbers are most interesting from the top.
      const reverse = again ? !this.order.reverse : Boolean(column.number);
      this.order = { by: column.sort, reverse };
      this.showOrder();
      this.onSort(this.order);
    };
    return h("button", { type: "button", class: "sorter", onclick: click }, column.title);
  }

  showOrder() {
    for (const [index, column] of this.columns.entries()) {
      const sorted = column.sort && this.order?.by === column.sort;
      if (!sorted) this.heads[index].removeAttribute("aria-sort");
      else this.heads[index].setAttribute("aria-sort", this.order.reverse ? "descending" : "ascending");
    }
  }
}

function classOf({ number, rank, wide, act }) {
  const names = [number && "number", rank && `rank-${rank}`, wide && "wide", act && "act"].filter(Boolean);
  return names.length > 0 ? names.join(" ") : null;
}

/** A table of rows that are all there already. */
export function plainTable(options, rows) {
  const table = new Table(options);
  table.update(rows);
  return table;
}
