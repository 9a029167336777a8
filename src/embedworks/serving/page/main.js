// The page: state in, requests out, and what a person changes.

import { emptyState, readAddress, writeAddress } from "./address.js";
import { drawComparison } from "./comparison.js";
import { byId, count, element } from "./element.js";
import { choosable, constrained, describeAttributes, drawFacets, numberOfFilters, whereOf } from "./filters.js";
import { listenToKeys, titles } from "./keys.js";
import { counted, dayHeads, describePapers, drawHead, fetchName, fetchPapers, nouns } from "./papers.js";
import { describeResults, drawProfile, drawResults, nameOf } from "./results.js";
import { describeSaved, drawDigestHead, fetchDigest, prepareSaving, refreshSaved } from "./saved.js";
import { ask } from "./server.js";
import { clearTrouble, showTrouble } from "./trouble.js";

const TYPING_PAUSE_MS = 25; // after the last key; a search takes about as long, and stale ones are aborted
const ANNOUNCE_PAUSE_MS = 700; // a screen reader hears the count once a person stops typing
const PAGE = 10;
const PAGE_OF_PAPERS = 20;
const MOST = 100;

let state = readAddress();
let about = null;
let wanted = PAGE;
let search = null; // AbortController of the search under way
let facets = null; // AbortController of the facet requests under way
let facetsOf = null; // the filter the drawn facets belong to
let typing = null;
let announcing = null;

const query = byId("query");

// ---- asking -------------------------------------------------------------------------------------------------------

async function run({ focusFirst = false, byTyping = false } = {}) {
  search?.abort();
  const mine = (search = new AbortController());
  drawState();
  try {
    if (about === null) {
      about = await ask("about", [], { signal: mine.signal });
      drawAbout();
      drawState();
    }
    document.body.classList.add("busy");
    if (state.saved !== null && about.papers?.saving) {
      drawDigest(await fetchDigest(state.saved, { signal: mine.signal }));
    } else if (state.like !== null || state.query.trim() !== "") {
      drawAnswer(await ask(...request(), { signal: mine.signal }));
    } else if (about.papers !== null && about.entries > 0) {
      drawPapers(await fetchPapers(state, Math.max(wanted, PAGE_OF_PAPERS), { signal: mine.signal }));
    } else {
      drawStart();
    }
    if (focusFirst) titles()[0]?.focus();
    clearTrouble();
    document.body.classList.remove("busy");
    if (about.papers?.saving && !byTyping) refreshSaved({ current: state.saved, open: openSaved });
    if (about.papers !== null && state.like !== null) await drawLikeName(mine.signal);
    await refreshFacets();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (facetsOf === null && error.parameter === "where") await drawUnfilteredFacets();
    if (error.code === "no_such_search") refreshSaved({ current: null, open: openSaved });
    showTrouble(error, { again: run, dropFilters, focusQuery: error.code === "no_such_search" ? goHome : leaveLike });
  } finally {
    if (search === mine) document.body.classList.remove("busy");
  }
}

function request() {
  const where = whereOf(state);
  const filter = where ? [["where", where]] : [];
  if (state.like !== null) return ["similar", [["id", state.like], ["k", wanted], ...filter]];
  return ["search", [["query", state.query.trim()], ["k", wanted], ["mode", state.mode], ...filter]];
}

/** A link to what is like an entry knows its id alone. */
async function drawLikeName(signal) {
  if (nameOf(state.like) === state.like) drawLike(await fetchName(state.like, { signal }));
}

function drawLike(name) {
  byId("like").hidden = state.like === null;
  byId("like-id").textContent = name;
  byId("like-id").classList.toggle("named", name !== state.like);
}

async function refreshFacets() {
  const where = whereOf(state);
  facets?.abort(); // also when the drawn ones are right again: an answer under way would put wrong ones in their place
  if (facetsOf === where || about.attributes.length === 0) return;
  facets = new AbortController();
  const { signal } = facets;
  const filtered = (expression) => (expression ? [["where", expression]] : []);
  const own = constrained(state);
  const [common, ...single] = await Promise.all([
    ask("facets", [...choosable().map((name) => ["name", name]), ...filtered(where)], { signal }),
    ...own.map((name) => ask("facets", [["name", name], ...filtered(whereOf(state, { without: name }))], { signal })),
  ]);
  const replaced = new Map(single.flatMap((answer) => answer.facets).map((facet) => [facet.name, facet]));
  facetsOf = where;
  drawLead(common.entries);
  drawFacets(common.facets.map((facet) => replaced.get(facet.name) ?? facet), state, changeFilters);
}

/** With a filter that cannot be used, the choices are still there to start from. */
async function drawUnfilteredFacets() {
  try {
    drawFacets((await ask("facets")).facets, state, changeFilters);
  } catch {
    // the trouble that is about to be shown is the one to mend first
  }
}

// ---- drawing ------------------------------------------------------------------------------------------------------

function drawAbout() {
  describeAttributes(about.attributes, about.papers);
  describePapers(about.papers);
  describeResults(about.papers);
  describeSaved(about.papers);
  drawComparison(about.comparison);
  byId("collection").textContent = about.title === "embedworks" ? "" : about.title;
  document.title = about.title;
  byId("colophon").replaceChildren(
    element("span", {}, counted(about.entries)),
    element("span", {}, `${about.model}, ${about.dimension} dimensions`),
    element("span", {}, "API: ", element("code", {}, "/search"), " and ", element("code", {}, "/v1/embeddings")));
  const wide = matchMedia("(min-width: 60rem)");
  byId("filters").open = byId("saved").open = wide.matches;
  document.body.classList.toggle("no-filters", about.attributes.length === 0);
}

function drawState() {
  if (document.activeElement !== query) query.value = state.query;
  if (document.activeElement !== byId("where")) byId("where").value = state.where;
  if (state.where) byId("expression").open = true;
  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.checked = radio.value === state.mode;
    radio.disabled = state.like !== null;
  }
  drawLike(state.like === null ? "" : nameOf(state.like));
  document.body.classList.toggle("digest", state.saved !== null && Boolean(about?.papers?.saving));
  byId("save-search").hidden = !about?.papers?.saving || state.like !== null || state.saved !== null;
  byId("save-search").textContent = state.query.trim() || numberOfFilters(state) ? "Save this search" : "Save: all that is new";
  const number = numberOfFilters(state);
  byId("filter-count").hidden = byId("clear-filters").hidden = byId("composed").hidden = number === 0;
  byId("filter-count").textContent = String(number);
  byId("composed-where").textContent = whereOf(state);
}

function drawAnswer(answer, { heads, most = MOST } = {}) {
  const { hits } = answer;
  const placed = titles().indexOf(document.activeElement);
  for (const id of ["start", "papers-head", "digest-head"]) byId(id).hidden = true;
  drawResults(hits, { onLike: like, heads });
  if (placed >= 0) titles()[Math.min(placed, hits.length - 1)]?.focus({ preventScroll: true });
  const passing = answer.passing === about.entries ? counted(about.entries)
    : `${answer.passing.toLocaleString("en")} of ${counted(about.entries)}`;
  byId("meta").hidden = hits.length === 0;
  byId("meta").replaceChildren(
    element("span", {}, passing),
    element("span", {}, `${answer.milliseconds.toFixed(0)} ms`),
    element("span", { class: "how" }, answer.how));
  byId("more").hidden = hits.length < wanted || wanted >= most || answer.passing <= hits.length;
  byId("nothing").hidden = hits.length > 0;
  if (hits.length === 0) drawNothing();
  announce(hits.length === 0 ? "No results" : `${count(hits.length, "result")} shown, of ${passing}`);
}

function drawPapers(answer) {
  const newest = state.order === "newest";
  wanted = Math.max(wanted, PAGE_OF_PAPERS);
  drawAnswer(answer, { heads: dayHeads(answer.hits, state, goToDay), most: newest ? Infinity : MOST });
  byId("meta").hidden = true;
  drawHead(state, answer, goToDay);
  if (about.comparison) {
    for (const id of ["start-title", "start-lead", "start-examples"]) byId(id).hidden = true;
    byId("start").hidden = false;
  }
}

function drawDigest(answer) {
  drawAnswer(answer);
  for (const id of ["meta", "more", "nothing"]) byId(id).hidden = true;
  announce(`${counted(answer.passing)} new`);
  drawDigestHead(answer, {
    showAll: ({ query: text, mode, where }) => {
      state = { ...emptyState(), query: text, mode, where };
      query.value = text;
      byId("where").value = where;
      changed();
    },
    gone: goHome,
  });
}

function drawNothing() {
  const filters = numberOfFilters(state);
  byId("nothing").replaceChildren(
    element("h2", {}, filters ? `No ${nouns()[0]} passes these filters` : `No ${nouns()[0]} holds these words`),
    element("p", {}, filters
      ? "Take one away, or clear them all."
      : `Search by meaning to find ${nouns()[1]} that say it in other words.`),
    filters
      ? element("button", { type: "button", class: "action", onclick: dropFilters }, "Clear all filters")
      : element("button", { type: "button", class: "action", onclick: () => chooseMode("vector") }, "Search by meaning"));
}

function drawStart() {
  drawResults([], { onLike: like });
  for (const id of ["meta", "more", "nothing", "papers-head", "digest-head"]) byId(id).hidden = true;
  for (const id of ["start", "start-title", "start-lead"]) byId(id).hidden = false;
  byId("start-title").textContent = about.title === "embedworks" ? "Search by meaning" : about.title;
  drawLead(about.entries);
  byId("start-examples").hidden = about.examples.length === 0;
  byId("examples").replaceChildren(...about.examples.map((example) => element("li", {},
    element("button", { type: "button", class: "example", onclick: () => searchFor(example) }, example))));
  announce("");
}

function drawLead(passing) {
  const entries = counted(about.entries);
  const lead = passing < about.entries
    ? `${passing.toLocaleString("en")} of ${entries} pass your filters. Type to search among them.`
    : `${entries}, found by meaning, by words, or by both. Describe what you need in your own words.`;
  byId("start-lead").textContent = about.entries === 0 ? "This index is empty. Add entries to it, then reload the page." : lead;
}

function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => { byId("announcement").textContent = text; }, ANNOUNCE_PAUSE_MS);
}

// ---- changing the state -------------------------------------------------------------------------------------------

function changed({ byTyping = false, ...options } = {}) {
  wanted = PAGE;
  writeAddress(state, { typing: byTyping });
  clearTimeout(typing);
  if (!byTyping) return run(options);
  typing = setTimeout(() => run({ byTyping }), TYPING_PAUSE_MS);
}

function changeFilters(change) {
  change(state);
  state.saved = null;
  changed();
}

function dropFilters() {
  const { query: text, mode, like: id, order } = state;
  state = { ...emptyState(), query: text, mode, like: id, order };
  byId("where").value = "";
  changed();
}

function searchFor(text) {
  state.query = query.value = text;
  state.like = state.saved = null;
  changed();
  query.focus();
}

function like(id) {
  state.like = id;
  state.saved = null;
  scrollTo({ top: 0 });
  changed({ focusFirst: true });
}

function leaveLike() {
  const changing = state.like !== null;
  state.like = null;
  query.focus();
  if (changing) changed();
}

function goToDay(day) {
  state.day = day;
  scrollTo({ top: 0 });
  changed();
}

function openSaved(key) {
  state = { ...emptyState(), mode: state.mode, saved: key };
  query.value = byId("where").value = "";
  scrollTo({ top: 0 });
  changed();
}

function chooseMode(mode) {
  state.mode = mode;
  changed();
}

// ---- listening ----------------------------------------------------------------------------------------------------

query.addEventListener("input", () => {
  state.query = query.value;
  state.like = state.saved = null;
  changed({ byTyping: true });
});

byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  titles()[0]?.focus();
});

for (const radio of document.querySelectorAll("[name=mode]")) {
  radio.addEventListener("change", () => chooseMode(radio.value));
}

for (const radio of document.querySelectorAll("[name=order]")) {
  radio.addEventListener("change", () => {
    state.order = radio.value;
    changed();
  });
}

prepareSaving({
  describe: () => ({ query: state.query.trim(), mode: state.mode, where: whereOf({ ...state, day: null }) }),
  saved: ({ key }) => openSaved(key),
});

byId("where").addEventListener("change", (event) => {
  changeFilters((now) => { now.where = event.target.value; });
});

byId("clear-filters").addEventListener("click", dropFilters);
byId("leave-like").addEventListener("click", leaveLike);

byId("more").addEventListener("click", async () => {
  const first = titles().length;
  const papers = !byId("papers-head").hidden;
  wanted = papers && state.order === "newest" ? wanted + PAGE_OF_PAPERS : Math.min(wanted + PAGE, MOST);
  await run();
  titles()[first]?.focus({ preventScroll: true });
});

byId("home-link").addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  goHome();
});

function goHome() {
  state = { ...emptyState(), mode: state.mode };
  query.value = byId("where").value = "";
  return changed();
}

byId("comparison-link").addEventListener("click", async () => {
  await goHome();
  byId("comparison").scrollIntoView({ block: "start" });
  byId("comparison").focus({ preventScroll: true });
});

addEventListener("popstate", () => {
  state = readAddress();
  query.value = state.query;
  byId("where").value = state.where;
  wanted = PAGE;
  facetsOf = null;
  run();
});

new ResizeObserver(drawProfile).observe(byId("result-area"));

listenToKeys((target) => {
  if (state.saved !== null) {
    goHome();
  } else if (state.like !== null) {
    leaveLike();
  } else if (target !== query && state.query) {
    query.focus();
  } else if (state.query) {
    state.query = query.value = "";
    changed();
  } else {
    target.blur?.();
  }
});

if (!state.query && state.like === null && matchMedia("(hover: hover)").matches) query.focus({ preventScroll: true });
run();
