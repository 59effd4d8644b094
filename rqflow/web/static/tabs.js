// @ts-check
// Where tabs do not all fit, the current one is in sight.

function show() {
  for (const tab of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".tabs > [aria-current]"))) {
    const row = /** @type {HTMLElement} */ (tab.parentElement);
    const [here, there] = [row.getBoundingClientRect(), tab.getBoundingClientRect()];
    if (there.right > here.right) row.scrollLeft += there.right - here.right + 24;
    else if (there.left < here.left) row.scrollLeft -= here.left - there.left + 24;
  }
}

/** Begin. */
export function start() {
  show();
  document.addEventListener("htmx:after:swap", show);
}
