// @ts-check
// Buttons that copy: data-copy has the text.
import { say, toast } from "./toasts.js";

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Plain http to another machine has no clipboard: the old way.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser did not copy");
}

/** Begin. */
export function start() {
  document.addEventListener("click", async (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-copy]");
    if (!button) return;
    try {
      await copy(button.getAttribute("data-copy") ?? "");
    } catch (error) {
      toast(`Not copied: ${error instanceof Error ? error.message : error}`, "bad");
      return;
    }
    say("Copied");
    const use = button.querySelector("use");
    const href = use?.getAttribute("href") ?? "";
    if (!use || href.endsWith("#check-lg")) return;
    use.setAttribute("href", href.replace(/#.*/, "#check-lg"));
    setTimeout(() => use.setAttribute("href", href), 1200);
  });
}
