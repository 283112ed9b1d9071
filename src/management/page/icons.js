// The few drawings of the page, all of them decoration beside words.

import { svg } from "./dom.js";

const HARE =
  "M12.3 15.6C9 11.2 7.5 4.6 9.3 2.4c1.7-2 5 2.5 6.1 10.2.4-.04.8-.04 1.2 0C17.7 4.9 21 .4 22.7 2.4" +
  "c1.8 2.2.3 8.8-3 13.2 2.7 1.5 4.3 4.2 4.3 7.1 0 4.4-3.5 7.3-8 7.3s-8-2.9-8-7.3c0-2.9 1.6-5.6 4.3-7.1z";

/** The mark: a leveret, ears up. */
export function hare(size = 26) {
  return svg(
    "svg",
    { viewBox: "0 0 32 32", width: size, height: size, "aria-hidden": "true", class: "hare" },
    svg("path", { d: HARE, class: "hare-fur" }),
    svg("circle", { cx: 12.7, cy: 21.5, r: 1.3, class: "hare-eye" }),
    svg("circle", { cx: 19.3, cy: 21.5, r: 1.3, class: "hare-eye" }),
    svg("path", { d: "M14.7 24.6h2.6L16 26.2z", class: "hare-eye" }),
  );
}

const PATHS = {
  menu: "M3 5h14M3 10h14M3 15h14",
  light: "M10 3v1.5M10 15.5V17M3 10h1.5M15.5 10H17M5 5l1 1M14 14l1 1M15 5l-1 1M6 14l-1 1M13 10a3 3 0 1 1-6 0 3 3 0 0 1 6 0z",
  dark: "M16 11.8A6.5 6.5 0 0 1 8.2 4a6.5 6.5 0 1 0 7.8 7.8z",
  leave: "M8 4H4v12h4M12 7l3 3-3 3M15 10H8",
};

export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true", class: "icon" },
    svg("path", { d: PATHS[name] }),
  );
}
