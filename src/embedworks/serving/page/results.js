// The list of results, and the line in its margin that shows how fast nearness falls off.

import { byId, element, marked } from "./element.js";

const SVG = "http://www.w3.org/2000/svg";
const LEAST_SPAN = 0.15; // of the top score: hits nearly as near as each other are not drawn far apart
const FIRST_AUTHORS = 6;
let scores = [];
let papers = null; // which attributes are title, authors and so on, where entries have a date
const named = new Map(); // id -> title, of what was drawn

export function describeResults(described) {
  papers = described;
}

/** What to call an entry whose id is known. */
export const nameOf = (id) => named.get(id) ?? id;

/** @param {{onLike: (id: string) => void, heads?: Map<number, Node>}} options  heads: headings before results, by place */
export function drawResults(hits, { onLike, heads = new Map() }) {
  scores = hits.map((hit) => hit.score);
  const line = document.createElementNS(SVG, "svg");
  line.setAttribute("class", "profile");
  line.setAttribute("aria-hidden", "true");
  line.append(document.createElementNS(SVG, "polyline"));
  const list = byId("results");
  list.replaceChildren(...hits.flatMap((hit, place) =>
    [heads.get(place), result(hit, place, onLike)].filter(Boolean)));
  byId("result-area").querySelector(".profile")?.remove();
  byId("result-area").prepend(line);
  drawProfile();
}

/** Put the points and the line of the margin where the titles stand. */
export function drawProfile() {
  const area = byId("result-area");
  const line = area.querySelector("polyline");
  const dots = [...area.querySelectorAll(".dot")];
  if (!line || dots.length === 0) return;
  const top = Math.max(...scores);
  const span = Math.max(top - Math.min(...scores), LEAST_SPAN * Math.abs(top)) || 1;
  dots.forEach((dot, place) => dot.style.setProperty("--nearness", String(1 - (top - scores[place]) / span)));
  const frame = area.getBoundingClientRect();
  line.setAttribute("points", dots.map((dot) => {
    const box = dot.getBoundingClientRect();
    return `${box.x + box.width / 2 - frame.x},${box.y + box.height / 2 - frame.y}`;
  }).join(" "));
}

function result(hit, place, onLike) {
  const body = `result-${place}-text`;
  const title = element("button", {
    type: "button", class: "title", "aria-expanded": "false", "aria-controls": body,
    onclick: () => toggle(item),
  }, ...titleOf(hit));
  const link = papers?.link && webLink(hit.attributes[papers.link]);
  const text = element("div", { class: "text", id: body }, snippet(hit));
  const item = element("li", { class: papers?.title ? "result paper" : "result" },
    margin(hit),
    element("div", { class: "content" },
      element("h3", {}, title),
      authors(hit),
      text,
      element("div", { class: "foot" },
        element("ul", { class: "chips", "aria-label": "Attributes" }, ...chips(hit)),
        link && element("a", {
          class: "plain", href: link, target: "_blank", rel: "noopener noreferrer", "aria-label": `Open it: ${nameOf(hit.id)}`,
        }, "Open it"),
        element("button", {
          type: "button", class: "plain like-button", "aria-label": `More like ${nameOf(hit.id)}`, onclick: () => onLike(hit.id),
        }, "More like this"))));
  item.like = () => onLike(hit.id);
  item.show = (open) => {
    title.setAttribute("aria-expanded", String(open));
    item.classList.toggle("open", open);
    text.replaceChildren(open ? wholeText(hit) : snippet(hit));
    drawProfile();
  };
  return item;
}

function toggle(item) {
  item.show(item.querySelector(".title").getAttribute("aria-expanded") !== "true");
}

/** The score and its dot, or the first category where nothing was scored. */
function margin(hit) {
  if (hit.score !== null) {
    return element("div", { class: "margin" },
      element("span", { class: "score", title: "score" }, hit.score.toFixed(3)),
      element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "dot" })));
  }
  const first = papers?.categories && listed(hit.attributes[papers.categories])[0];
  return element("div", { class: "margin" }, first && element("span", { class: "score", "aria-hidden": "true" }, first));
}

function titleOf(hit) {
  const title = papers?.title && hit.attributes[papers.title];
  if (!title) return titleParts(hit.id);
  named.set(hit.id, title);
  return [element("span", {}, title)];
}

const listed = (value) => (Array.isArray(value) ? value : value ? [String(value)] : []);

const webLink = (value) => (typeof value === "string" && /^https?:\/\/\S+$/i.test(value) ? value : null);

function authors(hit) {
  const names = papers?.authors ? listed(hit.attributes[papers.authors]) : [];
  if (names.length === 0) return null;
  const more = names.length - FIRST_AUTHORS;
  return element("p", { class: "authors" }, names.slice(0, FIRST_AUTHORS).join(", "),
    more > 0 && ` and ${more.toLocaleString("en")} more`);
}

/** The last part of a dotted or slashed id is what tells it from its neighbours; what leads there stands back. */
function titleParts(id) {
  const cut = Math.max(id.lastIndexOf("."), id.lastIndexOf("/")) + 1;
  return cut > 0 && cut < id.length
    ? [element("span", { class: "path" }, ...breakable(id.slice(0, cut))), element("span", {}, ...breakable(id.slice(cut)))]
    : [element("span", {}, ...breakable(id))];
}

/** A long id may break after a dot, a slash or an underscore before it breaks anywhere else. */
function breakable(text) {
  return text.split(/(?<=[./_])(?=[^./_])/).flatMap((part, place) => (place ? [element("wbr"), part] : [part]));
}

function snippet(hit) {
  const { text, highlights, cut_before: before, cut_after: after } = hit.snippet;
  return element("p", { class: "snippet" }, before && "… ", marked(text, highlights), after && " …");
}

function wholeText(hit) {
  // Indented lines and ruled headings only line up in type of one width.
  const aligned = /^( {2,}|\t|-{3,}|={3,})/m.test(hit.text);
  const whole = element("div", { class: "whole" }, element("p", { class: aligned && "aligned" }, belowTitle(hit)));
  if (!hit.text_complete) whole.append(element("p", { class: "note" }, "Cut here: the rest is in the index."));
  return whole;
}

/** A text that begins with its title does not say it twice. */
function belowTitle({ text, attributes }) {
  const title = papers?.title && attributes[papers.title];
  return title && text.startsWith(title) ? text.slice(title.length).replace(/^[\s.:;]+/, "") || text : text;
}

/** Attributes by name; of a paper, what a reader goes by first, and the others once it is opened. */
function* chips(hit) {
  const elsewhere = papers ? [papers.title, papers.authors, papers.link] : [];
  const leading = papers?.title ? [papers.date, papers.categories].filter(Boolean) : [];
  if (papers?.title) yield element("li", {}, element("span", { class: "chip-name" }, "id"), " ", hit.id);
  const others = Object.keys(hit.attributes).filter((name) => !leading.includes(name) && !elsewhere.includes(name));
  for (const name of [...leading, ...others]) {
    const value = hit.attributes[name];
    if (value === null || (Array.isArray(value) && value.length === 0)) continue;
    const shown = Array.isArray(value) ? value.join(", ") : typeof value === "number" ? shortNumber(value) : String(value);
    const named = leading.includes(name) ? [] : [element("span", { class: "chip-name" }, name), " "];
    yield element("li", { class: papers?.title && named.length > 0 && "further" }, ...named, shown);
  }
}

const shortNumber = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))));
