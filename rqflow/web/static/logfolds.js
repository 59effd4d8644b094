// @ts-check
// Groups of lines, from ::group::Title to ::endgroup::, that open and close.

export class Folds {
  constructor() {
    /** What a person chose, by the byte where the group begins. @type {Map<string, boolean>} */
    this.chosen = new Map();
    /** Whether groups are closed that nobody has opened or closed, and that have no error. */
    this.closesAll = false;
  }

  /** Make groups out of some lines, which follow each other. @param {HTMLElement[]} lines @returns {number} how many groups there are */
  apply(lines) {
    let count = 0;
    for (let at = 0; at < lines.length; at++) {
      const head = lines[at];
      if (!head.classList.contains("group")) {
        head.classList.remove("folded");
        continue;
      }
      count += 1;
      let end = at + 1;
      while (end < lines.length && !lines[end].classList.contains("group") && !lines[end].classList.contains("endgroup")) end++;
      const within = lines.slice(at + 1, lines[end]?.classList.contains("endgroup") ? end + 1 : end);
      const closed = this.chosen.get(head.dataset.o ?? "") ?? (this.closesAll && !within.some((line) => line.classList.contains("error")));
      for (const line of within) line.classList.toggle("folded", closed);
      this.#button(head, closed, within.length);
      at += within.length;
      head.classList.remove("folded");
    }
    return count;
  }

  /** @param {HTMLElement} head @param {boolean} closed @param {number} count */
  #button(head, closed, count) {
    const text = /** @type {HTMLElement} */ (head.querySelector(".log-text"));
    let button = /** @type {HTMLButtonElement | null} */ (text.querySelector(".log-fold"));
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.className = "log-fold";
      const title = text.textContent?.replace(/^.*?(::group::|##\[group\])/, "").trim();
      button.textContent = title || "group";
      text.replaceChildren(button);
    }
    button.setAttribute("aria-expanded", String(!closed));
    button.title = closed ? `${count} lines` : "";
  }

  /** @param {HTMLElement} head @param {HTMLElement[]} lines */
  toggle(head, lines) {
    this.chosen.set(head.dataset.o ?? "", head.querySelector(".log-fold")?.getAttribute("aria-expanded") === "true");
    this.apply(lines);
  }

  /** Open or close all groups. @param {HTMLElement[]} lines */
  toggleAll(lines) {
    this.closesAll = lines.some((line) => line.querySelector('.log-fold[aria-expanded="true"]'));
    this.chosen.clear();
    for (const line of this.closesAll ? lines : []) if (line.classList.contains("group")) this.chosen.set(line.dataset.o ?? "", true);
    this.apply(lines);
  }

  /** Open the group in which a line is. @param {HTMLElement} line @param {HTMLElement[]} lines */
  reveal(line, lines) {
    if (!line.classList.contains("folded")) return;
    for (let at = lines.indexOf(line); at >= 0; at--) {
      if (lines[at].classList.contains("group")) {
        this.chosen.set(lines[at].dataset.o ?? "", false);
        break;
      }
    }
    this.apply(lines);
  }
}
