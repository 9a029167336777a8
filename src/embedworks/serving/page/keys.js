// The keys that move through the page without a mouse.

import { byId } from "./element.js";

export const titles = () => [...document.querySelectorAll(".title")];

/** @param {(step: {place: number, target: Element}) => void} back  what Esc does where no result is open */
export function listenToKeys(back) {
  const query = byId("query");
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const writing = target.matches?.("input:not([type=checkbox], [type=radio]), textarea");
    const place = titles().findIndex((title) => title.closest(".result").contains(target));
    if (event.key === "/" && !writing) {
      event.preventDefault();
      query.focus();
      query.select();
    } else if (event.key === "ArrowDown" && (target === query || place >= 0 || target === document.body)) {
      event.preventDefault();
      titles()[place + 1]?.focus();
    } else if (event.key === "ArrowUp" && place >= 0) {
      event.preventDefault();
      (titles()[place - 1] ?? query).focus();
    } else if (event.key === "m" && place >= 0) {
      event.preventDefault();
      titles()[place].closest(".result").like();
    } else if (event.key === "Escape") {
      event.preventDefault();
      const open = place >= 0 && titles()[place].closest(".result.open");
      if (open) open.show(false);
      else back(target);
    }
  });
}
