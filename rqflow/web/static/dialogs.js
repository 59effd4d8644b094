// @ts-check
// A link with data-dialog opens its page in a dialog; forms in it are sent as those of a page are. Without JavaScript the link leads to the page.
import { htmx } from "./bridge.js";

/** @returns {HTMLDialogElement} */
function dialog() {
  return /** @type {HTMLDialogElement} */ (document.getElementById("dialog"));
}

/** Open the page at `url` in the dialog; go there when it cannot be got.
 * @param {string} url */
export async function open(url) {
  const body = /** @type {HTMLElement} */ (document.getElementById("dialog-body"));
  const title = /** @type {HTMLElement} */ (document.getElementById("dialog-title"));
  body.replaceChildren();
  await htmx.ajax("GET", url, { target: body, swap: "innerHTML ignoreTitle:true", headers: { "HX-Target": "div#dialog-body" } });
  const page = body.querySelector(".dialog-page");
  if (!page) {
    location.assign(url);
    return;
  }
  title.textContent = page.getAttribute("data-title") ?? "";
  if (!dialog().open) dialog().showModal();
  /** @type {HTMLElement | null} */ (body.querySelector("[autofocus], input:not([type=hidden]), select, textarea, .confirm-foot .btn"))?.focus();
}

/** Begin. */
export function start() {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const on = /** @type {Element} */ (event.target);
    const link = on.closest("a[data-dialog]");
    if (link instanceof HTMLAnchorElement) {
      event.preventDefault();
      void open(link.href);
    } else if (on.closest("[data-dialog-close]") && on.closest("dialog")) {
      event.preventDefault();
      on.closest("dialog")?.close();
    } else if (on instanceof HTMLDialogElement && isOutside(on, event)) {
      on.close();
    }
  });
}

/** Tell whether a click on a dialog was on its backdrop.
 * @param {HTMLDialogElement} on @param {MouseEvent} event @returns {boolean} */
function isOutside(on, event) {
  const box = on.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}
