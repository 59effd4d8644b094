// @ts-check
// Between htmx and the rest: what is got is made ready before it is put in place, a session that ended leads to the login page, errors are told.
import { show } from "./times.js";
import { toast } from "./toasts.js";

/** What htmx offers; its script is loaded before any module runs.
 * @type {{ajax: (verb: string, url: string, options: object) => Promise<void>, trigger: (on: Element, name: string, detail?: object) => boolean, process: (on: Element) => void}} */
export const htmx = /** @type {any} */ (window).htmx;

/** Begin. */
export function start() {
  document.addEventListener("htmx:before:swap", (event) => {
    for (const task of /** @type {CustomEvent} */ (event).detail.tasks) show(task.fragment);
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    const raw = ctx.response.raw;
    if (raw.status === 401 || (raw.redirected && new URL(raw.url).pathname === "/login")) {
      event.preventDefault();
      location.assign("/login?expired=1&next=" + encodeURIComponent(location.pathname + location.search + location.hash));
    }
  });
  document.addEventListener("htmx:response:error", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    if (ctx.sourceElement?.hasAttribute("data-live")) return; // live.js tries again by itself
    if ([403, 409, 422].includes(ctx.response.status)) return; // their answer says it in its place
    toast(`The server refused: ${ctx.response.status} ${ctx.response.raw.statusText}`, "bad");
  });
}
