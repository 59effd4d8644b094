// @ts-check
// The grid of tasks and runs: what a square stands for is said beside it, arrows go from square to square, and groups open in place.
import { htmx } from "./bridge.js";

/** @returns {HTMLElement | null} */
const box = () => document.querySelector("#grid .grid-box");
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
tip.setAttribute("role", "tooltip");

/** The cell that holds an element.
 * @param {EventTarget | null} on @returns {HTMLTableCellElement | null} */
function cellOf(on) {
  const cell = on instanceof Element ? on.closest("#grid-table td, #grid-table thead th[data-run]") : null;
  return cell instanceof HTMLTableCellElement ? cell : null;
}

/** @param {HTMLTableCellElement} cell @returns {string[]} what it stands for, a line each */
function told(cell) {
  const table = /** @type {HTMLTableElement} */ (cell.closest("table"));
  const head = /** @type {HTMLElement | undefined} */ (table.tHead?.rows[0].cells[cell.cellIndex]);
  const run = [head?.dataset.run ?? "", head?.dataset.told ?? ""];
  if (cell.tagName === "TH") return run;
  const row = /** @type {HTMLTableRowElement} */ (cell.parentElement);
  const square = cell.querySelector("a");
  if (!square) return [];
  const number = square.dataset.try ? `, try ${square.dataset.try}` : "";
  const state = (square.getAttribute("aria-label") ?? "").replaceAll("_", " ");
  return [row.cells[0].dataset.task ?? "", `${state}${number}`, ...run];
}

/** Say what a cell stands for, beside it; nothing for null.
 * @param {HTMLTableCellElement | null} cell */
function say(cell) {
  const lines = cell ? told(cell) : [];
  tip.hidden = !lines.length;
  if (!cell || !lines.length) return;
  tip.replaceChildren(...lines.map((line, at) => Object.assign(document.createElement(at ? "span" : "b"), { textContent: line })));
  if (!tip.isConnected) document.body.append(tip);
  const at = cell.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const left = at.right + 8 + size.width > innerWidth ? at.left - size.width - 8 : at.right + 8;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.max(Math.min(at.top, innerHeight - size.height - 8), 4)}px`;
}

/** Move the focus from a square by rows and columns, over cells that have none.
 * @param {HTMLTableCellElement} from @param {number} down @param {number} right @returns {boolean} whether there is one */
function move(from, down, right) {
  const table = /** @type {HTMLTableElement} */ (from.closest("table"));
  let [row, column] = [/** @type {HTMLTableRowElement} */ (from.parentElement).rowIndex + down, from.cellIndex + right];
  for (; table.rows[row]?.cells[column]; row += down, column += right) {
    const next = /** @type {HTMLElement | null} */ (table.rows[row].cells[column].querySelector("a, button"));
    if (!next) continue;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
    return true;
  }
  return false;
}

/** @type {Record<string, [number, number]>} */
const STEPS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };

document.addEventListener("keydown", (event) => {
  const cell = event.target instanceof Element ? event.target.closest("#grid-table td, #grid-table th") : null;
  if (event.key === "Escape") say(null);
  if (!(cell instanceof HTMLTableCellElement) || !STEPS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  if (move(cell, ...STEPS[event.key])) event.preventDefault();
});
document.addEventListener("mouseover", (event) => say(cellOf(event.target)));
document.addEventListener("focusin", (event) => say(cellOf(event.target)));
document.addEventListener("focusout", () => say(null));
document.addEventListener("scroll", () => say(null), true);

// A group opens without a new page; the address says which are open, and so does what is got anew.
document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  const button = /** @type {SubmitEvent} */ (event).submitter;
  if (form.id !== "groups" || !(button instanceof HTMLButtonElement)) return;
  event.preventDefault();
  const asked = new URLSearchParams(/** @type {any} */ (new FormData(form, button)));
  void htmx.ajax("GET", `${new URL(form.action).pathname}?${asked}`, { target: "#grid", swap: "outerMorph" }).then(() => {
    const now = document.getElementById("grid")?.getAttribute("hx-get");
    if (now) history.replaceState(history.state, "", now);
    /** @type {HTMLElement | null} */ (document.querySelector(`#grid-table button[value="${CSS.escape(button.value)}"]`))?.focus({ preventScroll: true });
  });
});

// The newest runs stand at the right.
const shown = box();
if (shown) shown.scrollLeft = shown.scrollWidth;
