// The list of results, and the line in its margin that shows how fast nearness falls off.

import { byId, element, marked } from "./element.js";

const SVG = "http://www.w3.org/2000/svg";
const LEAST_SPAN = 0.15; // of the top score: hits nearly as near as each other are not drawn far apart
let scores = [];

export function drawResults(hits, { onLike }) {
  scores = hits.map((hit) => hit.score);
  const line = document.createElementNS(SVG, "svg");
  line.setAttribute("class", "profile");
  line.setAttribute("aria-hidden", "true");
  line.append(document.createElementNS(SVG, "polyline"));
  const list = byId("results");
  list.replaceChildren(...hits.map((hit, place) => result(hit, place, onLike)));
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
  }, ...titleParts(hit.id));
  const text = element("div", { class: "text", id: body }, snippet(hit));
  const item = element("li", { class: "result" },
    element("div", { class: "margin" },
      element("span", { class: "score", title: "score" }, hit.score.toFixed(3)),
      element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "dot" }))),
    element("div", { class: "content" },
      element("h3", {}, title),
      text,
      element("div", { class: "foot" },
        element("ul", { class: "chips", "aria-label": "Attributes" }, ...chips(hit.attributes)),
        element("button", {
          type: "button", class: "plain like-button", "aria-label": `More like ${hit.id}`, onclick: () => onLike(hit.id),
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
  const whole = element("div", { class: "whole" }, element("p", { class: aligned && "aligned" }, hit.text));
  if (!hit.text_complete) whole.append(element("p", { class: "note" }, "Cut here: the rest is in the index."));
  return whole;
}

function* chips(attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || (Array.isArray(value) && value.length === 0)) continue;
    const shown = Array.isArray(value) ? value.join(", ") : typeof value === "number" ? shortNumber(value) : String(value);
    yield element("li", {}, element("span", { class: "chip-name" }, name), " ", shown);
  }
}

const shortNumber = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))));
