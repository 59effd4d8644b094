// @ts-check
// What the search field suggests while somebody types: links below it; arrows move over them, Enter opens one, Escape closes. Enter in the field itself
// leads to the page of all that was found.
import { parsed } from "./html.js";
import { show } from "./times.js";

/** Milliseconds after the last letter before it is asked. */
const REST = 160;

/** Begin. */
export function start() {
  const field = document.getElementById("search");
  const form = field?.closest("form");
  if (!(field instanceof HTMLInputElement) || !form) return;
  const list = Object.assign(document.createElement("div"), { className: "suggestions", id: "suggestions", hidden: true });
  list.setAttribute("role", "region");
  list.setAttribute("aria-label", "Suggestions");
  form.append(list);
  field.setAttribute("aria-controls", "suggestions");
  /** @type {number | undefined} */
  let timer;
  /** @type {AbortController | null} */
  let asking = null;

  const close = () => { list.hidden = true; };
  const links = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll("a")]);

  const ask = async () => {
    const text = field.value.trim();
    asking?.abort();
    if (!text) return close();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const answer = await fetch(`/search?${new URLSearchParams({ q: text })}`, { headers: { "HX-Request": "true" }, signal });
      if (!answer.ok || answer.redirected) return close();
      const found = parsed(await answer.text());
      show(found);
      list.replaceChildren(found);
      list.hidden = !form.contains(document.activeElement);
      const said = document.getElementById("said");
      if (said) said.textContent = `${links().length} suggestions`;
    } catch (error) {
      if (!signal.aborted) close(); // the server is away, which live.js tells
    }
  };

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => void ask(), REST);
  });
  field.addEventListener("focus", () => { if (field.value.trim() && list.childElementCount) list.hidden = false; });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
      field.focus();
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || list.hidden) return;
    event.preventDefault();
    const all = [field, ...links()];
    const at = all.indexOf(/** @type {HTMLInputElement} */ (document.activeElement));
    all[(at + step + all.length) % all.length].focus();
  });
  form.addEventListener("focusout", (event) => { if (!form.contains(/** @type {Node | null} */ (event.relatedTarget))) close(); });
}
