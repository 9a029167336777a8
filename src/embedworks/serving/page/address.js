// What the page shows, written in its address: sharing a link, going back and reloading all keep it.

export const MODES = ["hybrid", "vector", "lexical"];
export const ORDERS = ["newest", "central", "outlying"];
const DAY = /^\d{4}-\d\d-\d\d$/;

export function emptyState() {
  return {
    query: "", mode: "hybrid", like: null, where: "", chosen: new Map(), from: new Map(), to: new Map(),
    day: null, order: "newest", saved: null,
  };
}

export function readAddress() {
  const state = emptyState();
  for (const [name, value] of new URLSearchParams(location.search)) {
    const [kind, attribute] = [name.slice(0, name.indexOf(".")), name.slice(name.indexOf(".") + 1)];
    if (name === "q") state.query = value;
    else if (name === "mode" && MODES.includes(value)) state.mode = value;
    else if (name === "like") state.like = value;
    else if (name === "where") state.where = value;
    else if (name === "day" && DAY.test(value)) state.day = value;
    else if (name === "order" && ORDERS.includes(value)) state.order = value;
    else if (name === "saved") state.saved = value;
    else if (kind === "is") state.chosen.set(attribute, (state.chosen.get(attribute) ?? new Set()).add(value));
    else if (kind === "from") state.from.set(attribute, value);
    else if (kind === "to") state.to.set(attribute, value);
  }
  return state;
}

export function addressOf(state) {
  const parameters = new URLSearchParams();
  if (state.query && state.like === null) parameters.set("q", state.query);
  if (state.like !== null) parameters.set("like", state.like);
  if (state.mode !== "hybrid") parameters.set("mode", state.mode);
  if (state.saved !== null) parameters.set("saved", state.saved);
  if (state.order !== "newest") parameters.set("order", state.order);
  if (state.day !== null) parameters.set("day", state.day);
  for (const [name, values] of state.chosen) for (const value of values) parameters.append(`is.${name}`, value);
  for (const [name, value] of state.from) parameters.set(`from.${name}`, value);
  for (const [name, value] of state.to) parameters.set(`to.${name}`, value);
  if (state.where) parameters.set("where", state.where);
  const text = parameters.toString();
  return text ? `?${text}` : location.pathname;
}

let burst = null;
const BURST_MS = 1500; // typing without a longer pause makes one step of the history

/** Put the state into the address; typing replaces the step it began, everything else adds one. */
export function writeAddress(state, { typing = false } = {}) {
  const target = addressOf(state);
  const current = location.search || location.pathname;
  if (target === current) return;
  if (typing && burst !== null) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  clearTimeout(burst);
  burst = typing ? setTimeout(() => { burst = null; }, BURST_MS) : null;
}
