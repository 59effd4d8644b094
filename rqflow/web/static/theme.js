// @ts-check
// The theme: as the system has it, light, or dark; kept in this browser. And the narrow menu.
import { say } from "./toasts.js";

const KEY = "rqflow.theme";
const ORDER = ["system", "light", "dark"];
const ICONS = { system: "circle-half", light: "sun", dark: "moon-stars" };
const system = matchMedia("(prefers-color-scheme: dark)");

/** @returns {string} */
function chosen() {
  return localStorage.getItem(KEY) ?? "system";
}

function apply() {
  const choice = chosen();
  const dark = choice === "dark" || (choice === "system" && system.matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    const use = button.querySelector("use");
    use?.setAttribute("href", (use.getAttribute("href") ?? "").replace(/#.*/, "#" + ICONS[/** @type {keyof ICONS} */ (choice)]));
    button.setAttribute("title", `Theme: ${choice}`);
    button.setAttribute("aria-label", `Theme: ${choice}`);
  }
  document.dispatchEvent(new CustomEvent("rqflow:theme", { detail: { dark } }));
}

/** Take the next theme in the order system, light, dark. */
export function next() {
  const choice = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
  if (choice === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, choice);
  apply();
  say(`Theme: ${choice}`);
}

/** Begin. */
export function start() {
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", (event) => { if (event.key === KEY) apply(); });
  document.addEventListener("click", (event) => {
    const on = /** @type {Element} */ (event.target);
    if (on.closest("[data-theme-switch]")) next();
    if (on.closest("[data-nav-slim]")) {
      const root = document.documentElement;
      if (root.dataset.nav === "slim") delete root.dataset.nav;
      else root.dataset.nav = "slim";
      localStorage.setItem("rqflow.nav", root.dataset.nav ?? "wide");
    }
  });
}
