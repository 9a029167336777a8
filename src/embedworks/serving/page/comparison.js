// The table and the picture of an evaluation, where the server was started with one.

import { byId, element } from "./element.js";

const MOST_DECIMALS = 3;

const decimalsOf = (value) => (typeof value === "number" ? (String(value).split(".")[1] ?? "").length : 0);

/** One formatter a column: all its numbers get as many decimals as the one with most of them. */
function formatters(columns, rows) {
  return columns.map((_name, index) => {
    const decimals = Math.min(MOST_DECIMALS, Math.max(0, ...rows.map((row) => decimalsOf(row[index]))));
    return (value) => (typeof value === "number" ? value.toFixed(decimals) : String(value ?? ""));
  });
}

export function drawComparison(comparison) {
  const place = byId("comparison");
  place.hidden = !comparison;
  byId("comparison-link").hidden = !comparison;
  if (!comparison) return;
  const { title, caption, columns, rows, pictures } = comparison;
  const cells = formatters(columns, rows);
  const picture = (theme) => pictures[theme] && element("img", {
    class: `picture only-${pictures.light && pictures.dark ? theme : "any"}`, src: pictures[theme], loading: "lazy",
    alt: `${title}, as a picture; the table below holds its numbers`,
  });
  const table = columns.length > 0 && element("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": title },
    element("table", {},
      element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value, index) =>
        index === 0
          ? element("th", { scope: "row" }, cells[index](value))
          : element("td", typeof value === "number" ? { class: "number" } : {}, cells[index](value))))))));
  place.replaceChildren(
    element("h2", {}, title), caption && element("p", { class: "caption" }, caption),
    ...["light", "dark"].map(picture).filter(Boolean), table || "");
}
