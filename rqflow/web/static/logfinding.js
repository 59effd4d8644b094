// @ts-check
// What is looked for in a log, which the server looks through part by part: how many lines have it, and which is the next one.

const MOST = 10_000;

/** @typedef {{offset: number, line: number}} Hit */

export class Finding {
  /** @param {string} url @param {string} query `q=…` or `errors=true` @param {() => void} changed called when more is known */
  constructor(url, query, changed) {
    this.url = url;
    this.query = query;
    this.changed = changed;
    /** @type {Hit[]} */
    this.hits = [];
    this.upto = 0;
    this.line = 1;
    this.isAll = false;
    this.isStopped = false;
    this.failed = "";
    /** Which hit one is at; -1: none yet. */
    this.at = -1;
  }

  /** Look through the log, or through what came since. @returns {Promise<void>} */
  async run() {
    this.running ??= this.#run().finally(() => { this.running = undefined; });
    return this.running;
  }

  async #run() {
    this.isAll = false;
    while (!this.isAll && !this.isStopped && this.hits.length < MOST) {
      const answer = await fetch(`${this.url}/search?${this.query}&from=${this.upto}&line=${this.line}`).catch(() => null);
      if (!answer?.ok) {
        this.failed = answer ? `refused: ${answer.status}` : "the server does not answer";
        break;
      }
      const told = await answer.json();
      for (const [offset, line] of told.hits) {
        if (this.hits.at(-1)?.offset !== offset) this.hits.push({ offset, line });
      }
      this.isAll = told.is_all;
      // The last line may have no end yet: it is looked at again.
      this.upto = told.upto;
      this.line = told.line;
      this.changed();
    }
    this.changed();
  }

  stop() {
    this.isStopped = true;
  }

  /** Go to the next hit behind `offset`, or the one before it; round at the ends. Waits until one is found, or all is looked through.
   * @param {number} offset @param {boolean} back @returns {Promise<Hit | null>} */
  async step(offset, back) {
    const found = () => back ? this.hits.findLastIndex((hit) => hit.offset < offset) : this.hits.findIndex((hit) => hit.offset > offset);
    while (this.running && (back || found() < 0)) await Promise.race([this.running, new Promise((resolve) => setTimeout(resolve, 100))]);
    if (!this.hits.length) return null;
    this.at = found();
    if (this.at < 0) this.at = back ? this.hits.length - 1 : 0;
    this.changed();
    return this.hits[this.at];
  }

  /** @returns {string} how far it is: 3 of 120 */
  get said() {
    if (this.failed) return this.failed;
    const count = this.hits.length.toLocaleString("en"), more = this.hits.length >= MOST ? "+" : this.isAll ? "" : "…";
    if (!this.hits.length) return this.isAll ? "none" : "…";
    return this.at < 0 ? `${count}${more}` : `${(this.at + 1).toLocaleString("en")} of ${count}${more}`;
  }
}

/** Mark a text in some lines, by what browsers have for it: no element changes, nothing selected is lost.
 * @param {HTMLElement[]} lines @param {string} text */
export function mark(lines, text) {
  const marks = /** @type {any} */ (CSS).highlights, Range_ = /** @type {any} */ (window).Highlight;
  if (!marks || !Range_) return;
  marks.delete("log-found");
  if (!text) return;
  const wanted = text.toLowerCase(), found = new Range_();
  for (const line of lines) {
    const whole = line.querySelector(".log-text");
    if (!whole?.textContent?.toLowerCase().includes(wanted)) continue;
    const texts = document.createTreeWalker(whole, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = /** @type {Text} */ (texts.currentNode), said = node.data.toLowerCase();
      for (let at = said.indexOf(wanted); at >= 0 && said.length === node.data.length; at = said.indexOf(wanted, at + wanted.length)) {
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + wanted.length);
        found.add(range);
      }
    }
  }
  marks.set("log-found", found);
}
