// Saved searches: the list at the side, the form that saves one, and the digest of what is new.

import { byId, element } from "./element.js";
import { counted, momentName } from "./papers.js";
import { ask, send } from "./server.js";

let asked = null; // the last request for the list: only its answer is drawn
let mailTo = null;

export function describeSaved(papers) {
  mailTo = papers?.mail_to ?? null;
}

/** Fetch the list and draw it; `open` is called with the key of the one that is chosen. What fails is said there. */
export async function refreshSaved({ current, open }) {
  const mine = (asked = {});
  let failure = "";
  let searches = [];
  try {
    ({ searches } = await ask("saved"));
  } catch (error) {
    failure = error.message || "The server does not answer.";
  }
  if (mine === asked) drawSaved(searches, { current, open, failure });
}

function drawSaved(searches, { current, open, failure }) {
  const unseen = searches.reduce((sum, search) => sum + (search.new ?? 0), 0);
  byId("saved").hidden = searches.length === 0 && failure === "";
  byId("saved-note").textContent = failure;
  byId("saved-count").hidden = unseen === 0;
  byId("saved-count").textContent = unseen.toLocaleString("en");
  byId("saved-list").replaceChildren(...searches.map((search) => element("li", {},
    element("a", {
      href: `?saved=${search.key}`, "aria-current": search.key === current ? "page" : null,
      onclick: (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        open(search.key);
      },
    }, search.name),
    search.new > 0 && element("span", { class: "badge" }, search.new.toLocaleString("en"),
      element("span", { class: "visually-hidden" }, " new")),
    search.new === null && element("span", { class: "badge unfit", title: "Its filter no longer fits this index" }, "?"))));
}

/** Opening a digest is the visit after which what it shows counts as seen. */
export const fetchDigest = (key, { signal }) => send(`saved/${encodeURIComponent(key)}/visit`, {}, { signal });

/** @param {{showAll: (search: object) => void, gone: () => void}} actions */
export function drawDigestHead({ search, hits, passing }, actions) {
  const status = element("p", { class: "note", role: "status" });
  const said = (words) => { status.textContent = words; };
  const attempt = (work) => async (event) => {
    event.target.disabled = true;
    try {
      await work(event);
    } catch (error) {
      said(error.message || "The server does not answer. Try again.");
    } finally {
      event.target.disabled = false;
    }
  };
  const few = hits.length < passing ? ` The ${hits.length} ${search.query ? "nearest" : "newest"} are shown.` : "";
  const path = `saved/${search.key}`;
  byId("digest-head").hidden = false;
  byId("digest-head").replaceChildren(
    element("h1", {}, search.name),
    element("p", { class: "lead" }, passing === 0
      ? `Nothing new since ${momentName(search.since)}.`
      : `${passing.toLocaleString("en")} new ${counted(passing).split(" ").at(-1)} since ${momentName(search.since)}.${few}`),
    element("dl", { class: "asked" }, ...conditions(search)),
    element("div", { class: "digest-tools" },
      element("button", { type: "button", class: "action", onclick: () => actions.showAll(search) }, "Show all its results"),
      element("a", { class: "plain", href: search.feed }, "Atom feed"),
      mailTo && element("label", { class: "daily" },
        element("input", {
          type: "checkbox", checked: search.daily,
          onchange: attempt(async (event) => {
            const daily = event.target.checked;
            await send(`${path}/mail`, { daily });
            said(daily ? `What is new goes to ${mailTo}, at most once a day.` : "No more mails.");
          }),
        }), element("span", {}, `Mail daily to ${mailTo}`)),
      mailTo && passing > 0 && element("button", {
        type: "button", class: "plain",
        onclick: attempt(async () => {
          const { sent } = await send(`${path}/send`, {});
          said(sent ? `Sent to ${mailTo}: ${counted(sent)}.` : "Nothing is new: no mail was sent.");
        }),
      }, "Mail this digest"),
      deletion(path, attempt, actions.gone)),
    status);
}

function* conditions(search) {
  if (search.query) yield* [element("dt", {}, search.mode === "lexical" ? "Words" : "Query"), element("dd", {}, search.query)];
  if (search.where) yield* [element("dt", {}, "Filter"), element("dd", {}, element("code", {}, search.where))];
  if (!search.query && !search.where) yield* [element("dt", {}, "Everything"), element("dd", {}, "that is added")];
}

/** The first press asks, the second deletes. */
function deletion(path, attempt, gone) {
  let asks = false;
  return element("button", {
    type: "button", class: "plain danger",
    onclick: attempt(async (event) => {
      if (!asks) {
        asks = true;
        event.target.textContent = "Delete it for good?";
        return;
      }
      await send(path, null, { method: "DELETE" });
      gone();
    }),
  }, "Delete");
}

/** The form under the search box. `describe` says what there is to save; `saved` is called with the new search. */
export function prepareSaving({ describe, saved }) {
  const [form, button, name, note] = ["save-form", "save-search", "save-name", "save-note"].map(byId);
  const show = (open) => {
    form.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    note.textContent = "";
    if (open) {
      name.value = describe().query.slice(0, 80);
      name.focus();
      name.select();
    }
  };
  button.addEventListener("click", () => show(form.hidden));
  byId("save-cancel").addEventListener("click", () => { show(false); button.focus(); });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    show(false);
    button.focus();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    note.textContent = "";
    name.removeAttribute("aria-invalid");
    try {
      const search = await send("saved", { name: name.value, ...describe() });
      show(false);
      saved(search);
    } catch (error) {
      name.setAttribute("aria-invalid", "true");
      note.textContent = error.message || "The server does not answer. Try again.";
      name.focus();
    }
  });
}
