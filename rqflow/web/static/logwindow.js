// @ts-check
// The lines of a log that are in the page: blocks that follow each other, some of a file that may be far larger. They are got from the server
// as one scrolls, and the farthest go when there are many. What was in sight stays where it was.
import { parsed } from "./html.js";

const MOST_BLOCKS = 40, LINES = 1000;

/** @typedef {{lines: string, open: string, upto: number, passed_over: number | null}} Grown */

export class LogWindow {
  /** @param {HTMLElement} scroller @param {string} url @param {(lines: HTMLElement[]) => void} made called with lines that are new here */
  constructor(scroller, url, made) {
    this.scroller = scroller;
    this.url = url;
    this.made = made;
    /** Where a line begins that has no end yet, else the end of the last block. */
    this.resume = 0;
    /** Whether the last block ends where the file does, so that what comes follows it. */
    this.attached = true;
    /** Counts replacements of all blocks: what was asked for before one of them is not put in. */
    this.generation = 0;
    this.busy = false;
  }

  /** @returns {HTMLElement[]} */
  get blocks() {
    return /** @type {HTMLElement[]} */ ([...this.scroller.querySelectorAll(":scope > .log-block")]);
  }

  /** @returns {HTMLElement[]} */
  get lines() {
    return /** @type {HTMLElement[]} */ ([...this.scroller.querySelectorAll(".log-line")]);
  }

  /** @returns {number} the byte where the first block begins */
  get start() {
    return Number(this.blocks[0]?.dataset.start ?? 0);
  }

  /** @returns {number} the byte where the last block ends */
  get end() {
    return Number(this.blocks.at(-1)?.dataset.end ?? 0);
  }

  /** Take over the block that the page came with. */
  adopt() {
    const block = this.blocks[0];
    if (block) this.#settle(block);
    this.#look();
    this.made(this.lines);
    this.number();
  }

  /** Get a block; null when there is nothing, or the page has moved on meanwhile.
   * @param {string} query @returns {Promise<HTMLElement | null>} */
  async fetch(query) {
    const asked = this.generation;
    const answer = await fetch(`${this.url}?format=block${query && "&"}${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!answer) return null; // live.js says that the server is away
    if (answer.redirected && new URL(answer.url).pathname === "/login" || answer.status === 401) {
      location.assign("/login?expired=1&next=" + encodeURIComponent(location.pathname + location.search + location.hash));
      return null;
    }
    if (!answer.ok || asked !== this.generation) return null;
    const block = /** @type {HTMLElement | null} */ (parsed(await answer.text()).querySelector(".log-block"));
    return asked === this.generation ? block : null;
  }

  /** Show another part of the log. @param {string} query which @returns {Promise<HTMLElement | null>} the block */
  async replace(query) {
    this.generation += 1;
    const block = await this.fetch(query);
    if (!block) return null;
    this.generation += 1;
    this.#clear();
    this.scroller.append(block);
    this.#settle(block);
    this.#look();
    this.made(this.lines);
    this.number();
    return block;
  }

  /** Get what stands before or behind, if there is any. @param {boolean} earlier @returns {Promise<boolean>} whether something came */
  async extend(earlier) {
    if (this.busy || (earlier ? this.start <= 0 : this.attached) || !this.blocks.length) return false;
    this.busy = true;
    try {
      const block = await this.fetch(earlier ? `before=${this.start}` : `after=${this.end}`);
      if (!block) return false;
      if (!block.firstElementChild) {
        this.attached = !earlier || this.attached;
        return false;
      }
      this.#still(() => {
        if (earlier) this.blocks[0].before(block);
        else this.scroller.append(block);
        this.#settle(block);
        this.#thin(!earlier);
      });
      this.#look();
      this.made(/** @type {HTMLElement[]} */ ([...block.children]));
      this.number();
      return true;
    } finally {
      this.busy = false;
    }
  }

  /** Add what came to the end. @param {Grown} told @returns {number} how many lines are new */
  grow(told) {
    if (told.passed_over !== null) {
      this.generation += 1;
      this.#clear();
    }
    let last = this.blocks.at(-1);
    const former = last?.lastElementChild;
    if (former && Number(/** @type {HTMLElement} */ (former).dataset.o) === this.resume && last?.hasAttribute("data-open")) former.remove();
    const lines = /** @type {HTMLElement[]} */ ([...parsed(told.lines + told.open).children]);
    const before = this.scroller.querySelectorAll(".log-line").length;
    for (let at = 0; at < lines.length;) {
      const room = last ? LINES - last.childElementCount : 0;
      if (!last || room <= 0) {
        last = this.#begin(last, Number(lines[at].dataset.o));
        continue;
      }
      last.append(...lines.slice(at, at + room));
      at += room;
    }
    if (last) {
      last.dataset.end = String(told.upto);
      last.toggleAttribute("data-open", told.open !== "");
      this.#estimate(last);
    }
    this.resume = told.upto;
    this.made(lines);
    this.number();
    return this.scroller.querySelectorAll(".log-line").length - before;
  }

  /** Let the blocks go that are farthest from the end, where everything is followed. */
  thin() {
    this.#thin(true);
  }

  /** Write the numbers of lines where they are known, and ask for them where not. */
  number() {
    const blocks = this.blocks;
    const known = blocks.findIndex((block) => block.dataset.first);
    if (known < 0) {
      this.#ask();
      return;
    }
    for (let at = known - 1; at >= 0; at--) blocks[at].dataset.first = String(Number(blocks[at + 1].dataset.first) - blocks[at].childElementCount);
    for (let at = known + 1; at < blocks.length; at++) blocks[at].dataset.first = String(Number(blocks[at - 1].dataset.first) + blocks[at - 1].childElementCount);
    for (const block of blocks) {
      let number = Number(block.dataset.first);
      // Those at its end are the ones that are new.
      for (let line = block.lastElementChild, last = number + block.childElementCount - 1; line && !line.id; line = line.previousElementSibling, last--) {
        line.id = `L${last}`;
        const link = /** @type {HTMLAnchorElement} */ (line.querySelector(".log-no"));
        link.href = `#L${last}`;
        link.textContent = String(last);
      }
    }
  }

  async #ask() {
    const block = this.blocks[0], asked = this.generation;
    if (!block || this.asking) return;
    this.asking = true;
    try {
      while (asked === this.generation && block.isConnected) {
        const answer = await fetch(`${this.url}/number?at=${block.dataset.start}`).catch(() => null);
        const { line } = answer?.ok ? await answer.json() : { line: null };
        if (line !== null) {
          block.dataset.first = String(line);
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, answer?.ok ? 50 : 3000));
      }
    } finally {
      this.asking = false;
    }
    if (this.blocks.length) this.number();
  }

  #clear() {
    for (const one of this.scroller.querySelectorAll(".log-block, .log-none, .log-more")) one.remove();
  }

  /** @param {HTMLElement | undefined} before @param {number} start @returns {HTMLElement} a new block at the end */
  #begin(before, start) {
    const made = document.createElement("div");
    made.className = "log-block";
    made.dataset.start = made.dataset.end = String(start);
    if (before) before.dataset.end = String(start), before.removeAttribute("data-open");
    else if (start === 0) made.dataset.first = "1";
    this.scroller.querySelector(".log-none")?.remove();
    this.scroller.append(made);
    return made;
  }

  /** @param {HTMLElement} block */
  #settle(block) {
    this.#estimate(block);
  }

  /** Say how high a block is that is not laid out yet. @param {HTMLElement} block */
  #estimate(block) {
    this.height ||= this.scroller.querySelector(".log-line")?.getBoundingClientRect().height || 19;
    block.style.containIntrinsicSize = `auto ${Math.round(block.childElementCount * Math.min(this.height, 40))}px`;
  }

  /** See whether the window ends where the file does, and where it would go on. */
  #look() {
    const last = this.blocks.at(-1);
    this.attached = !last || Number(last.dataset.end) >= Number(last.dataset.size ?? last.dataset.end);
    const line = /** @type {HTMLElement | null | undefined} */ (last?.lastElementChild);
    this.resume = last?.hasAttribute("data-open") && line ? Number(line.dataset.o) : this.end;
  }

  /** Do something to blocks, and have the line that is first in sight where it was. @param {() => void} change */
  #still(change) {
    const scroller = this.scroller, top = scroller.getBoundingClientRect().top;
    const line = this.lines.find((one) => one.getBoundingClientRect().bottom > top);
    const was = line?.getBoundingClientRect().top ?? 0;
    scroller.style.overflowAnchor = "none";
    change();
    if (line?.isConnected) scroller.scrollTop += line.getBoundingClientRect().top - was;
    requestAnimationFrame(() => { scroller.style.overflowAnchor = ""; });
  }

  /** Let the farthest blocks go when there are too many, unless something is selected in them. @param {boolean} first from the beginning on */
  #thin(first) {
    const chosen = getSelection();
    while (this.blocks.length > MOST_BLOCKS) {
      const block = /** @type {HTMLElement} */ (first ? this.blocks[0] : this.blocks.at(-1));
      if (chosen && !chosen.isCollapsed && chosen.containsNode(block, true)) return;
      block.remove();
      if (!first) this.attached = false;
    }
  }
}
