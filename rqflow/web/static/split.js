// @ts-check
// The bar between the two parts of a split screen: dragged, or moved by the arrow keys. Its place is kept in this browser.

const KEY = "rqflow.split", LEAST = 220, STEP = 24;

/** @param {HTMLElement} bar @param {number} width pixels of the list */
function place(bar, width) {
  const all = bar.parentElement?.clientWidth ?? innerWidth;
  const kept = `${Math.round(Math.min(Math.max(width, LEAST), Math.max(LEAST, all - 320)))}px`;
  document.documentElement.style.setProperty("--split", kept);
  bar.setAttribute("aria-valuenow", String(Math.round((100 * Number.parseInt(kept, 10)) / all)));
  localStorage.setItem(KEY, kept);
}

/** @param {HTMLElement} bar @returns {number} */
function now(bar) {
  return bar.previousElementSibling?.getBoundingClientRect().width ?? LEAST;
}

/** Begin. */
export function start() {
  document.querySelector(".split-list [aria-current]")?.scrollIntoView({ block: "nearest" });
  for (const bar of document.querySelectorAll(".split-bar")) {
    const at = /** @type {HTMLElement} */ (bar);
    at.setAttribute("aria-valuenow", String(Math.round((100 * now(at)) / (at.parentElement?.clientWidth || 1))));
    at.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      at.setPointerCapture(event.pointerId);
      at.classList.add("moving");
      const left = at.parentElement?.getBoundingClientRect().left ?? 0;
      const moved = (/** @type {PointerEvent} */ to) => place(at, to.clientX - left - 4);
      at.addEventListener("pointermove", moved);
      const ended = () => { at.removeEventListener("pointermove", moved); at.classList.remove("moving"); };
      at.addEventListener("lostpointercapture", ended, { once: true });
    });
    at.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowLeft" ? -STEP : event.key === "ArrowRight" ? STEP : 0;
      if (!step) return;
      event.preventDefault();
      place(at, now(at) + step);
    });
    at.addEventListener("dblclick", () => {
      document.documentElement.style.removeProperty("--split");
      localStorage.removeItem(KEY);
    });
  }
}
