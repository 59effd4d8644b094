// @ts-check
// Keys: Ctrl-K or / search, g and a letter goes to a page, j and k move over rows, ? shows them all.
import { next } from "./theme.js";
import { toggle } from "./times.js";

/** @type {Record<string, string>} */
const PLACES = { h: "/", d: "/dags", r: "/runs", b: "/backfills", w: "/workers" };

/** @param {EventTarget | null} on @returns {boolean} */
function isTyping(on) {
  return on instanceof HTMLElement && (on.isContentEditable || on.matches("input, textarea, select"));
}

/** Move the mark over rows by `step`, and the focus with it.
 * @param {number} step */
function move(step) {
  const rows = [...document.querySelectorAll("main .table > tbody > tr, main .rows > li")].filter((row) => row instanceof HTMLElement && row.offsetParent);
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("at"));
  const row = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rows[at]?.classList.remove("at");
  row.classList.add("at");
  const link = /** @type {HTMLElement | null} */ (row.querySelector("a[href]"));
  link?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function search() {
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById("search"));
  field?.focus();
  field?.select();
}

function help() {
  const list = /** @type {HTMLDialogElement} */ (document.getElementById("shortcuts"));
  if (!list.open) list.showModal();
}

/** Begin. */
export function start() {
  let pending = 0;
  document.addEventListener("click", (event) => { if (/** @type {Element} */ (event.target).closest("[data-shortcuts]")) help(); });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      search();
      return;
    }
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (pending && event.timeStamp - pending < 1500 && PLACES[event.key] && document.body.classList.contains("has-nav")) {
      location.assign(PLACES[event.key]);
      return;
    }
    pending = event.key === "g" ? event.timeStamp : 0;
    /** @type {Record<string, () => void>} */
    const keys = { "/": search, "?": help, j: () => move(1), k: () => move(-1), t: next, z: toggle };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
}
