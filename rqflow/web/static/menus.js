// @ts-check
// Menus are <details>: only one is open, and a click elsewhere or Escape closes it.

/** Begin. */
export function start() {
  document.addEventListener("click", (event) => {
    const inside = /** @type {Element} */ (event.target).closest("details.menu");
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== inside) menu.removeAttribute("open");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.removeAttribute("open");
      if (menu.contains(document.activeElement)) menu.querySelector("summary")?.focus();
    }
  });
}
