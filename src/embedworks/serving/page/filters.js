// The facets: what can be chosen, and the filter expression that the choices make.

import { byId, element } from "./element.js";

const SHOWN_VALUES = 6;
const expanded = new Set(); // names of facets whose whole list is shown
const DAY_MS = 86_400_000;
const DAY = /^\d{4}-\d\d-\d\d$/;
let kinds = new Map(); // attribute name -> kind, as the server described it
let dated = null; // the attribute that a chosen day is a day of
let inHead = []; // attributes whose values are too many to choose from: a title for each entry
let first = []; // attributes that are chosen by before all others

export function describeAttributes(attributes, papers) {
  kinds = new Map(attributes.map(({ name, kind }) => [name, kind]));
  dated = papers?.date ?? null;
  inHead = papers ? [papers.title, papers.link].filter(Boolean) : [];
  first = papers ? [papers.date, papers.categories, papers.authors].filter(Boolean) : [];
}

const column = (name) => `"${name.replaceAll('"', '""')}"`;
const text = (value) => `'${value.replaceAll("'", "''")}'`;
const dayAfter = (day) => new Date(Date.parse(day) + DAY_MS).toISOString().slice(0, 10);

export const idIs = (id) => `id = ${text(id)}`;

/** The filter expression of a state, in the language of `--where`; `without` leaves one attribute out. */
export function whereOf(state, { without = null } = {}) {
  const parts = [];
  for (const [name, values] of state.chosen) {
    if (name === without || values.size === 0) continue;
    const kind = kinds.get(name);
    const chosen = [...values];
    if (kind === "boolean") parts.push(chosen.map((value) => `${column(name)} = ${value === "true"}`).join(" or "));
    else if (kind === "set") parts.push(chosen.map((value) => `${column(name)} contains ${text(value)}`).join(" or "));
    else if (chosen.length === 1) parts.push(`${column(name)} = ${text(chosen[0])}`);
    else parts.push(`${column(name)} in (${chosen.map(text).join(", ")})`);
    if (chosen.length > 1 && (kind === "boolean" || kind === "set")) parts.push(`(${parts.pop()})`);
  }
  for (const [bounds, sign] of [[state.from, ">="], [state.to, "<="]]) {
    for (const [name, value] of bounds) {
      if (name === without || value === "") continue;
      if (kinds.get(name) !== "date") parts.push(`${column(name)} ${sign} ${value}`);
      else if (DAY.test(value) && sign === "<=") parts.push(`${column(name)} < ${text(dayAfter(value))}`); // its hours too
      else parts.push(`${column(name)} ${sign} ${text(value)}`);
    }
  }
  if (state.day !== null && dated !== null && dated !== without) {
    parts.push(`${column(dated)} >= ${text(state.day)} and ${column(dated)} < ${text(dayAfter(state.day))}`);
  }
  const own = state.where.trim();
  if (own) parts.push(parts.length ? `(${own})` : own);
  return parts.join(" and ");
}

export const numberOfFilters = (state) =>
  [...state.chosen.values()].reduce((sum, values) => sum + values.size, 0) +
  new Set([...state.from.keys(), ...state.to.keys()]).size +
  (state.day !== null && dated !== null ? 1 : 0) + (state.where.trim() ? 1 : 0);

/** Attributes the person has constrained: their facet is counted without their own choice. */
export const constrained = (state) =>
  [...kinds.keys()].filter((name) => state.chosen.get(name)?.size || state.from.has(name) || state.to.has(name)
    || (state.day !== null && name === dated));

/** Attributes worth a list of values. */
export const choosable = () => [...kinds].filter(([name, kind]) => kind !== "other" && !inHead.includes(name)).map(([name]) => name);

/**
 * Draw the facets anew, keeping the focus where it was. What a person changes is told as a function over the state of
 * that moment: the state the facets were drawn from may be gone by then.
 */
export function drawFacets(facets, state, change) {
  const focused = document.activeElement?.closest("#facets") ? document.activeElement.dataset.key : null;
  // Few values first: they divide the collection best, and a long list at the top would hide the others.
  const place = ({ name, distinct }) => (first.includes(name) ? first.indexOf(name) - first.length : distinct ?? SHOWN_VALUES);
  const drawn = facets
    .toSorted((one, other) => place(one) - place(other))
    .map((facet) => (facet.values ? listFacet(facet, state, change) : rangeFacet(facet, state, change)))
    .filter(Boolean);
  byId("facets").replaceChildren(...drawn);
  if (focused) byId("facets").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function listFacet(facet, state, change) {
  const chosen = state.chosen.get(facet.name) ?? new Set();
  const values = facet.values.map(({ value, count }) => ({ value: String(value), count }));
  for (const value of chosen) if (!values.some((known) => known.value === value)) values.unshift({ value, count: 0 });
  if (values.length < 2 && chosen.size === 0) return null; // one value for all: nothing to choose
  // A value for each entry tells them apart, but there is nothing to choose by either.
  if (facet.distinct > facet.values.length && facet.values[0].count === 1 && chosen.size === 0) return null;
  const all = expanded.has(facet.name);
  const shown = all ? values : values.filter(({ value }, place) => place < SHOWN_VALUES || chosen.has(value));
  const hidden = values.length - shown.length;
  const choose = (value, wanted) => change((now) => {
    const next = new Set(now.chosen.get(facet.name));
    if (wanted) next.add(value);
    else next.delete(value);
    if (next.size) now.chosen.set(facet.name, next);
    else now.chosen.delete(facet.name);
  });
  const items = shown.map(({ value, count }) =>
    element("li", {},
      element("label", { class: count ? "choice" : "choice none" },
        element("input", {
          type: "checkbox", "data-key": `is.${facet.name}.${value}`, "data-facet": facet.name, value,
          onchange: (event) => choose(value, event.target.checked),
        }),
        element("span", { class: "choice-value", title: value }, value === "" ? "(empty)" : value),
        element("span", { class: "choice-count" }, count.toLocaleString("en")),
      )));
  for (const [place, item] of items.entries()) item.querySelector("input").checked = chosen.has(shown[place].value);
  const more = (hidden > 0 || all) && values.length > SHOWN_VALUES && element("button", {
    type: "button", class: "plain", "data-key": `more.${facet.name}`,
    onclick: () => {
      if (!expanded.delete(facet.name)) expanded.add(facet.name);
      drawAgain(facet.name, listFacet(facet, state, change));
    },
  }, all ? "Show fewer" : `Show ${hidden} more`);
  const unlisted = all && facet.distinct > facet.values.length &&
    element("p", { class: "note" }, `${(facet.distinct - facet.values.length).toLocaleString("en")} rarer values: write a filter`);
  return element("fieldset", { class: "facet", "data-name": facet.name },
    element("legend", {}, facet.name), element("ul", {}, ...items), more, unlisted);
}

function drawAgain(name, facet) {
  byId("facets").querySelector(`fieldset[data-name="${CSS.escape(name)}"]`).replaceWith(facet);
  facet.querySelector("button")?.focus();
}

function rangeFacet(facet, state, change) {
  const given = state.from.has(facet.name) || state.to.has(facet.name);
  if ((facet.smallest === null || facet.smallest === facet.largest) && !given) return null;
  const bound = (side, suggestion) =>
    element("label", {},
      element("span", {}, side),
      element("input", {
        type: facet.kind === "date" ? "date" : "number", step: "any", inputmode: "decimal",
        min: facet.kind === "date" && facet.smallest?.slice(0, 10), max: facet.kind === "date" && facet.largest?.slice(0, 10),
        value: state[side].get(facet.name) ?? "", placeholder: suggestion ?? "", "data-key": `${side}.${facet.name}`,
        "aria-label": `${facet.name} ${side}`,
        onchange: (event) => change((now) => {
          if (event.target.value === "") now[side].delete(facet.name);
          else now[side].set(facet.name, event.target.value);
        }),
      }));
  return element("fieldset", { class: "facet range", "data-name": facet.name },
    element("legend", {}, facet.name),
    element("div", { class: facet.kind === "date" ? "bounds days" : "bounds" },
      bound("from", facet.smallest), bound("to", facet.largest)));
}
