// @ts-check
// Short messages: toasts at the corner, words for screen readers, and the message of what was just done.

/** Say something to those who listen to the page.
 * @param {string} text */
export function say(text) {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
}

/** Show a message for some seconds; one of kind "bad" stays until it is closed.
 * @param {string} text @param {"ok" | "warn" | "bad"} kind */
export function toast(text, kind = "ok") {
  const box = document.createElement("div");
  box.className = `flash flash-${kind}`;
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.dataset.flashClose = "";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "×";
  box.append(words, close);
  document.getElementById("toasts")?.append(box);
  if (kind !== "bad") setTimeout(() => box.remove(), 6000);
}

/** Begin. */
export function start() {
  document.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-flash-close]");
    button?.closest(".flash")?.remove();
  });
}
