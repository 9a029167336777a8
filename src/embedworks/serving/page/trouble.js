// What went wrong, said so that the person knows what to do next.

import { byId, element } from "./element.js";
import { ask, useKey } from "./server.js";

const POLL_MS = 1500;
let poll = null;
let countdown = null;

export function clearTrouble() {
  clearInterval(poll);
  clearTimeout(countdown);
  poll = countdown = null;
  const place = byId("trouble");
  if (!place.hidden) {
    place.hidden = true;
    place.replaceChildren();
  }
  document.body.classList.remove("stale");
  byId("where").removeAttribute("aria-invalid");
}

/**
 * @param {import("./server.js").ServerError} error
 * @param {{again: () => void, dropFilters: () => void, focusQuery: () => void}} actions
 */
export function showTrouble(error, { again, dropFilters, focusQuery }) {
  clearTrouble();
  document.body.classList.add("stale");
  const show = (title, ...rest) => {
    byId("trouble").replaceChildren(element("h2", {}, title), ...rest);
    byId("trouble").hidden = false;
  };
  const paragraph = (...content) => element("p", {}, ...content);
  const button = (label, onclick) => element("button", { type: "button", class: "action", onclick }, label);

  if (error.code === "unreachable") {
    show("The server does not answer",
      paragraph("Start it again in a terminal; this page then goes on by itself."),
      element("pre", {}, element("code", {}, "embedworks serve my.index")),
      button("Try now", again));
    poll = setInterval(async () => {
      try {
        await ask("health");
        again();
      } catch {
        // still away: the next round asks again
      }
    }, POLL_MS);
  } else if (error.code === "invalid_api_key") {
    show("This server asks for its key", paragraph("It is what the server was started with; it stays in this tab."), keyForm(again));
  } else if (error.status === 400 && error.parameter === "where") {
    byId("where").setAttribute("aria-invalid", "true");
    show("This filter cannot be used", paragraph(error.message), button("Remove the filters", dropFilters));
  } else if (error.parameter === "query" || error.status === 414) {
    show("This query cannot be searched for", paragraph(error.message), button("Change the query", focusQuery));
  } else if (error.status === 429 || error.status === 503) {
    show("The server is busy", paragraph(`It is asked again in ${error.retryAfter} s.`), button("Try now", again));
    countdown = setTimeout(again, 1000 * error.retryAfter);
  } else if (error.code === "no_such_search") {
    show("There is no such saved search", paragraph("It may have been deleted."), button("To the newest", focusQuery));
  } else if (error.status === 404) {
    show("There is no such entry", paragraph(error.message), button("Back to searching", focusQuery));
  } else {
    show("The server could not answer",
      paragraph(error.message || `It said ${error.status}.`), button("Try again", again));
  }
}

function keyForm(again) {
  const field = element("input", { type: "password", id: "key", autocomplete: "off", required: true });
  return element("form", {
    class: "key-form",
    onsubmit: (event) => {
      event.preventDefault();
      useKey(field.value.trim());
      again();
    },
  }, element("label", { for: "key" }, "Key"), field, element("button", { class: "action" }, "Use it"));
}
