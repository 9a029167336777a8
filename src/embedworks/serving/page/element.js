// Builds elements from data without ever parsing it as markup: text and attributes only.

/**
 * @param {string} tag
 * @param {Record<string, unknown>} properties  "class" and "on…" by name, "data-", "aria-" and the rest as attributes
 * @param {...(Node | string | number | null | undefined | false)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on") && typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    made.append(child instanceof Node ? child : String(child));
  }
  return made;
}

/** Text with <mark> around the highlights, whose offsets count Unicode code points as the server does. */
export function marked(text, highlights) {
  const characters = Array.from(text);
  const fragment = document.createDocumentFragment();
  let position = 0;
  for (const [start, end] of highlights) {
    fragment.append(characters.slice(position, start).join(""));
    fragment.append(element("mark", {}, characters.slice(start, end).join("")));
    position = end;
  }
  fragment.append(characters.slice(position).join(""));
  return fragment;
}

export const byId = (id) => document.getElementById(id);

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
