// @ts-check
// Switches change where they stand: their form is sent beside the page, and the list that they stand in is got anew. What asks back is a page as ever.
import { htmx } from "./bridge.js";
import { toast } from "./toasts.js";

/** @param {HTMLFormElement} form @param {HTMLButtonElement} button */
async function send(form, button) {
  const filled = new URLSearchParams(/** @type {any} */ (new FormData(form, button)));
  button.setAttribute("aria-busy", "true");
  /** @type {Response | null} */
  let answer = null;
  try {
    answer = await fetch(form.action, { method: "POST", body: filled, redirect: "manual", headers: { "HX-Request": "true", "Rqflow-In-Place": "1" } });
  } catch {
    toast("The server cannot be reached; nothing was changed.", "bad");
  } finally {
    button.removeAttribute("aria-busy");
  }
  if (!answer) return;
  if (answer.status !== 204) { // it asks something back, or the session has ended: both are pages, and nothing was changed
    const again = document.createElement("input");
    again.type = "hidden";
    again.name = button.name;
    again.value = button.value;
    form.append(again);
    form.submit();
    return;
  }
  const on = button.value === "1";
  button.setAttribute("aria-checked", String(on));
  button.value = on ? "0" : "1";
  document.querySelectorAll("#toasts .flash-ok").forEach((said) => said.remove()); // of the switch before, or of this one
  toast(decodeURIComponent(answer.headers.get("Rqflow-Said") ?? ""), /** @type {"ok" | "warn" | "bad"} */ (answer.headers.get("Rqflow-Kind") ?? "ok"));
  const list = form.closest("[data-live]");
  if (list) htmx.trigger(list, "live", {});
}

/** Begin. Before forms.js, which lets a form be sent once. */
export function start() {
  document.addEventListener("submit", (event) => {
    const button = /** @type {SubmitEvent} */ (event).submitter;
    if (!(button instanceof HTMLButtonElement) || !button.matches(".toggle")) return;
    event.preventDefault();
    if (!button.hasAttribute("aria-busy")) void send(/** @type {HTMLFormElement} */ (event.target), button);
  });
}
