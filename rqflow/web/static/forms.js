// @ts-check
// Filters that are sent as one types or chooses, and forms that are sent once.

/** Begin. */
export function start() {
  /** @type {number | undefined} */
  let timer;
  document.addEventListener("change", (event) => {
    const on = /** @type {Element} */ (event.target);
    const form = on.closest("form[data-auto-submit]");
    if (form instanceof HTMLFormElement && !on.matches("[type=search], [type=text]")) form.requestSubmit();
  });
  document.addEventListener("input", (event) => {
    const on = /** @type {HTMLInputElement} */ (event.target);
    const form = on.closest("form[data-auto-submit]");
    if (!(form instanceof HTMLFormElement) || !on.matches("[type=search], [type=text]")) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      sessionStorage.setItem("rqflow.typing", on.id);
      form.requestSubmit();
    }, 450);
  });
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.kept === "sent") {
      event.preventDefault(); // a second click
      return;
    }
    form.dataset.kept = "sent";
    addEventListener("pageshow", () => delete form.dataset.kept, { once: true });
    setTimeout(() => delete form.dataset.kept, 10_000);
  });
  const typed = sessionStorage.getItem("rqflow.typing");
  sessionStorage.removeItem("rqflow.typing");
  const field = typed ? document.getElementById(typed) : null;
  if (field instanceof HTMLInputElement) {
    field.focus({ preventScroll: true });
    field.setSelectionRange(field.value.length, field.value.length);
  }
}
