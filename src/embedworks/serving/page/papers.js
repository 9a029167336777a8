// Newest first by day, and the most central and most outlying of a selection: what is shown where entries have dates.

import { byId, count, element } from "./element.js";
import { idIs, whereOf } from "./filters.js";
import { ask } from "./server.js";

const CHUNK = 100; // most that one request returns
const LONG = { weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" };
const SHORT = { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" };

const ORDERS = { newest: "Newest", central: "Most central", outlying: "Most outlying" };

let noun = ["entry", "entries"];
let date = null; // name of the attribute
let title = null;
let list = { where: null, hits: [], passing: 0 }; // what has been fetched, so that "Show more" fetches only the rest
let days = []; // the days there are within the filters, newest first, and how many papers each has

export function describePapers(papers) {
  date = papers?.date ?? null;
  title = papers?.title ?? null;
  noun = papers?.authors ? ["paper", "papers"] : ["entry", "entries"];
}

export const nouns = () => noun;
export const counted = (number) => count(number, ...noun);
export const dayName = (day, form = LONG) => new Date(`${day}T00:00:00Z`).toLocaleDateString("en-GB", form);
export const momentName = (moment) =>
  new Date(moment).toLocaleString("en-GB", { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** Fetch what a state lists: papers in its order, and the days there are to go to. */
export async function fetchPapers(state, wanted, { signal }) {
  const where = whereOf(state);
  const filter = where ? [["where", where]] : [];
  const answer = state.order === "newest"
    ? newest(where, filter, wanted, signal)
    : ask("papers/depth", [["order", state.order], ["k", Math.min(wanted, CHUNK)], ...filter], { signal });
  const [found] = await Promise.all([answer, fetchDays(whereOf(state, { without: date }), signal)]);
  return found;
}

async function newest(where, filter, wanted, signal) {
  const goesOn = list.where === where && list.hits.length > 0 && wanted > list.hits.length;
  const hits = goesOn ? [...list.hits] : [];
  let answer;
  do {
    answer = await ask("papers", [["start", hits.length], ["k", Math.min(wanted - hits.length, CHUNK)], ...filter], { signal });
    // What came in or went away meanwhile has moved the rest: the list begins anew.
    if (hits.length > 0 && answer.passing !== list.passing) hits.length = 0;
    else hits.push(...answer.hits);
    list = { where, hits: [...hits], passing: answer.passing };
  } while (hits.length < Math.min(wanted, answer.passing) && (hits.length === 0 || answer.hits.length > 0));
  return { ...answer, hits };
}

/** What the entry with an id is called: its title, or the id where it has none. */
export async function fetchName(id, { signal }) {
  const { hits } = await ask("papers", [["where", idIs(id)], ["k", 1]], { signal });
  return (title && hits[0]?.attributes[title]) || id;
}

async function fetchDays(where, signal) {
  days = (await ask("papers/days", where ? [["where", where]] : [], { signal })).days;
}

/** Headings before the first result of every day, by the place of that result. */
export function dayHeads(hits, state, onDay) {
  const heads = new Map();
  if (state.order !== "newest" || state.day !== null) return heads;
  const counts = new Map(days.map(({ day, count: number }) => [day, number]));
  let before;
  hits.forEach((hit, place) => {
    const value = hit.attributes[date];
    const day = value === null ? null : value.slice(0, 10);
    if (day === before) return;
    before = day;
    heads.set(place, element("li", { class: "day" },
      element("h2", {}, day === null ? "Without a date" : dayName(day)),
      element("span", { class: "day-count" }, counted(counts.get(day) ?? 0)),
      day !== null && element("button", {
        type: "button", class: "plain", onclick: () => onDay(day), "aria-label": `Only ${dayName(day)}`,
      }, "Only this day")));
  });
  return heads;
}

/** Draw what stands above the list: what it is, in which order, and the way to other days. */
export function drawHead(state, answer, onDay) {
  byId("papers-head").hidden = false;
  for (const radio of document.querySelectorAll("[name=order]")) radio.checked = radio.value === state.order;
  const dated = days.filter(({ day }) => day !== null).map(({ day }) => day);
  const [last, first] = [dated[0], dated.at(-1)];
  byId("papers-title").textContent = state.day !== null ? dayName(state.day) : `${ORDERS[state.order]} ${noun[1]}`;
  byId("papers-lead").textContent = leadOf(state, answer, first, last);
  const place = dated.findIndex((day) => day <= (state.day ?? "9999"));
  const older = state.day === null ? null : dated[place] === state.day ? dated[place + 1] : dated[place];
  const newer = state.day === null ? null : place < 0 ? dated.at(-1) : dated[place - 1];
  const go = (day, words, label) => element("button", { type: "button", class: "plain", onclick: () => onDay(day), "aria-label": label }, words);
  const focused = byId("day-nav").contains(document.activeElement) ? document.activeElement.dataset.way : null;
  byId("day-nav").replaceChildren(...[
    older && go(older, `← ${dayName(older, SHORT)}`, `Older: ${dayName(older)}`),
    newer && go(newer, `${dayName(newer, SHORT)} →`, `Newer: ${dayName(newer)}`),
    state.day !== null && go(null, "All days", "All days"),
    last && element("label", { class: "go-day" }, element("span", {}, "Go to"), element("input", {
      type: "date", min: first, max: last, value: state.day ?? "",
      onchange: (event) => onDay(event.target.value || null),
    })),
  ].filter(Boolean));
  [...byId("day-nav").children].forEach((child, way) => {
    const control = child.matches("button") ? child : child.querySelector("input");
    control.dataset.way = child.matches("button") ? String(way) : "go";
  });
  if (focused) byId("day-nav").querySelector(`[data-way="${focused}"]`)?.focus({ preventScroll: true });
}

function leadOf(state, answer, first, last) {
  const number = counted(answer.passing);
  if (answer.passing > 1 && state.order !== "newest") {
    const those = state.order === "central" ? "those nearest to all the others first" : "those furthest from all the others first";
    return `${number}, ${those}. The number is the depth: the mean of 1 + cosine to each other one, from 0 to 2.`;
  }
  if (state.day !== null || !last) return number;
  return first === last ? `${number} of ${dayName(last)}` : `${number}, ${dayName(first)} to ${dayName(last)}`;
}
