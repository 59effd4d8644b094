// @ts-check
// The log of a try: opens at the end and follows, gets blocks as one scrolls, finds, folds, colours, and says when lines came. Without scripts the
// page has the last block, and links to the others.
import { parsed } from "./html.js";
import { Finding, mark } from "./logfinding.js";
import { Folds } from "./logfolds.js";
import { LogWindow } from "./logwindow.js";

const KEPT = "rqflow.log", TIMES = ["", "clock", "since"], NEAR = 30;

/** @param {EventTarget | null} on @returns {boolean} */
function isTyping(on) {
  return on instanceof HTMLElement && (on.isContentEditable || on.matches("input, textarea, select"));
}

/** @returns {{wrap: boolean, times: string}} */
function kept() {
  try {
    return { wrap: true, times: "", ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
  } catch {
    return { wrap: true, times: "" };
  }
}

class LogView {
  /** @param {HTMLElement} frame */
  constructor(frame) {
    this.frame = frame;
    this.url = frame.dataset.log ?? "";
    this.scroller = /** @type {HTMLElement} */ (frame.querySelector(".log"));
    this.jump = /** @type {HTMLButtonElement} */ (frame.querySelector(".log-jump"));
    this.count = /** @type {HTMLOutputElement} */ (frame.querySelector(".log-count"));
    this.field = /** @type {HTMLInputElement} */ (frame.querySelector(".log-find input"));
    this.ending = /** @type {HTMLElement} */ (frame.querySelector(".log-end"));
    this.grows = frame.hasAttribute("data-grows");
    this.following = !/^#L\d/.test(location.hash);
    this.top = 0;
    this.unseen = 0;
    this.kept = kept();
    this.folds = new Folds();
    this.folds.closesAll = !this.grows;
    /** @type {EventSource | null} */
    this.stream = null;
    /** @type {Finding | null} */
    this.finding = null;
    /** @type {Finding | null} */
    this.errors = null;
    /** The line one is at: where the next match is looked for. */
    this.here = -1;
    /** @type {[number, number] | null} */
    this.chosen = null;
    this.window = new LogWindow(this.scroller, this.url, (lines) => this.made(lines));
  }

  start() {
    this.look();
    this.window.adopt();
    this.window.resume = Number(this.frame.dataset.from ?? this.window.resume);
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => { if (this.following) this.toBottom(); }).observe(this.scroller);
    this.frame.addEventListener("click", (event) => this.clicked(event));
    this.frame.querySelector(".log-find")?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.find(false);
    });
    this.field.addEventListener("input", () => this.sought());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.scroller.focus();
      if (event.key === "Enter" && event.shiftKey) event.preventDefault(), this.find(true);
    });
    document.addEventListener("keydown", (event) => { if (this.isHere) this.pressed(event); });
    document.addEventListener("rqflow:zone", () => this.stamp(this.window.lines));
    document.addEventListener("visibilitychange", () => this.connect());
    addEventListener("hashchange", () => this.goToHash());
    addEventListener("pagehide", () => this.disconnect());
    this.following &&= this.window.attached;
    if (this.following) this.toBottom();
    else this.goToHash();
    this.connect();
    this.more();
  }

  /** Whether this log is still in the page, and in sight. @returns {boolean} */
  get isHere() {
    if (!this.frame.isConnected) this.disconnect();
    return this.frame.isConnected && this.frame.offsetParent !== null;
  }

  // What comes

  connect() {
    if (document.hidden || !this.grows || !this.window.attached || !this.frame.isConnected) {
      if (document.hidden || !this.window.attached) this.disconnect();
      return;
    }
    if (this.stream && this.stream.readyState !== EventSource.CLOSED) return;
    const stream = new EventSource(`${this.url}/stream?from=${this.window.resume}`);
    this.stream = stream;
    stream.addEventListener("grown", (event) => { if (this.stream === stream) this.grown(JSON.parse(event.data)); });
    stream.addEventListener("end", (event) => { if (this.stream === stream) this.ended(JSON.parse(event.data)); });
    stream.addEventListener("error", () => {
      // One that was refused is closed for good: a session may have ended, or a proxy have answered.
      if (stream.readyState === EventSource.CLOSED && this.stream === stream) setTimeout(() => this.connect(), 5000);
    });
  }

  disconnect() {
    this.stream?.close();
    this.stream = null;
  }

  /** @param {import("./logwindow.js").Grown} told */
  grown(told) {
    const passed = told.passed_over !== null;
    const count = this.window.grow(told);
    if (this.following) {
      this.window.thin();
      this.toBottom();
    } else {
      this.unseen += passed ? 0 : Math.max(count, 0);
      this.pill();
    }
  }

  /** @param {{ending: string, held: string}} told */
  ended(told) {
    this.disconnect();
    this.grows = false;
    this.frame.removeAttribute("data-grows");
    this.ending.textContent = [told.ending, told.held].filter(Boolean).join(" · ");
    this.ending.hidden = !this.ending.textContent;
    if (!this.scroller.querySelector(".log-line")) {
      const none = this.scroller.querySelector(".log-none");
      if (none) none.textContent = told.held ? "There is no log of this try here." : "It printed nothing.";
    }
    if (this.following) this.toBottom();
    this.pill();
    this.frame.dispatchEvent(new CustomEvent("rqflow:log-ended", { bubbles: true }));
  }

  // Lines that are new in the page

  /** @param {HTMLElement[]} lines */
  made(lines) {
    this.colour(lines);
    if (this.kept.times) this.stamp(lines);
    if (lines.some((line) => line.matches(".group, .endgroup")) || this.scroller.querySelector(".group")) this.fold();
    if (this.chosen) this.choose();
    if (this.field.value) mark(this.window.lines, this.field.value);
  }

  /** @param {HTMLElement[]} lines */
  async colour(lines) {
    if (!this.ansi && !lines.some((line) => line.querySelector("[data-ansi]"))) return;
    this.ansi ??= await import(this.frame.dataset.ansiUp ?? "");
    const painter = new this.ansi.AnsiUp();
    painter.use_classes = true;
    for (const line of lines) {
      const text = /** @type {HTMLElement} */ (line.querySelector(".log-text"));
      const lasts = painter.fg || painter.bg || painter.bold || painter.faint || painter.italic || painter.underline;
      if (text.dataset.ansi === undefined && !lasts) continue;
      // ansi_up escapes all that is not a colour.
      text.replaceChildren(parsed(painter.ansi_to_html(text.dataset.ansi ?? text.textContent ?? "")));
    }
    if (this.scroller.querySelector(".group")) this.fold();
  }

  /** @param {HTMLElement[]} lines */
  stamp(lines) {
    if (!this.kept.times) return;
    const began = Date.parse(this.frame.dataset.began ?? "");
    const zone = localStorage.getItem("rqflow.zone") === "local" ? undefined : "UTC";
    const clock = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
    for (const line of lines) {
      let at = /** @type {HTMLElement | null} */ (line.querySelector(".log-at"));
      if (!at) {
        at = document.createElement("time");
        at.className = "log-at";
        line.querySelector(".log-text")?.before(at);
      }
      const came = Number(line.dataset.at);
      at.textContent = !line.dataset.at ? "" : this.kept.times === "since" && !Number.isNaN(began)
        ? `+${(Math.max(came - began, 0) / 1000).toFixed(2)} s` : `${clock.format(came)}.${String(came % 1000).padStart(3, "0")}`;
    }
  }

  fold() {
    const button = this.frame.querySelector('[data-do="folds"]');
    const count = this.folds.apply(this.window.lines);
    if (button instanceof HTMLElement) button.hidden = !count;
  }

  // Scrolling

  toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.top = this.scroller.scrollTop;
    this.unseen = 0;
    this.pill();
    // What comes in sight may be higher than was thought.
    requestAnimationFrame(() => { if (this.following && !this.isAtBottom) this.scroller.scrollTop = this.top = this.scroller.scrollHeight; });
  }

  /** @returns {boolean} */
  get isAtBottom() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR;
  }

  scrolled() {
    const top = this.scroller.scrollTop;
    if (this.isAtBottom && this.window.attached) {
      this.following = true;
      this.unseen = 0;
    } else if (top < this.top - 1) {
      this.following = false;
    }
    this.top = top;
    this.pill();
    this.more();
  }

  pill() {
    this.jump.hidden = this.following || (this.isAtBottom && this.window.attached);
    const said = this.jump.querySelector("span");
    if (said) said.textContent = this.unseen ? `${this.unseen.toLocaleString("en")} new line${this.unseen === 1 ? "" : "s"}` : "Jump to the end";
  }

  /** Get what is nearly in sight. */
  async more() {
    const near = 2 * this.scroller.clientHeight;
    const left = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
    if (this.scroller.scrollTop < near && await this.window.extend(true)) {
      if (this.following) this.toBottom();
      this.more();
    } else if (left < near && !this.window.attached && await this.window.extend(false)) {
      if (this.window.attached) this.connect();
      this.more();
    }
  }

  async toEnd() {
    if (!this.window.attached) {
      await this.window.replace("");
      this.connect();
    }
    this.following = true;
    this.toBottom();
    this.more();
  }

  /** Show a line, which is in the page or is got. @param {string} selector @param {string} query @returns {Promise<HTMLElement | null>} */
  async goTo(selector, query) {
    this.following = false;
    let line = /** @type {HTMLElement | null} */ (this.scroller.querySelector(selector));
    if (!line) {
      this.disconnect();
      await this.window.replace(query);
      line = this.scroller.querySelector(selector);
      this.connect();
    }
    if (line) {
      this.folds.reveal(line, this.window.lines);
      this.center(line);
      requestAnimationFrame(() => line && this.center(line));
    }
    this.pill();
    return line;
  }

  /** @param {HTMLElement} line */
  center(line) {
    const box = this.scroller.getBoundingClientRect(), at = line.getBoundingClientRect();
    if (at.top < box.top + 40 || at.bottom > box.bottom - 40) this.scroller.scrollTop += at.top - box.top - box.height / 3;
    this.top = this.scroller.scrollTop;
  }

  // Lines that are chosen

  async goToHash() {
    const found = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (!found) return;
    const one = Number(found[1]), other = Number(found[2] ?? found[1]);
    this.chosen = [Math.min(one, other), Math.max(one, other)];
    // Where a line of a very long log begins is counted first, which may take some calls.
    for (let tries = 0; tries < 20; tries++) {
      await this.goTo(`#L${this.chosen[0]}`, `line=${this.chosen[0]}`);
      const first = Number(this.window.blocks[0]?.dataset.first ?? 0);
      if (this.scroller.querySelector(`#L${this.chosen[0]}`) || (first && this.window.attached)) break;
    }
    this.choose();
    this.more();
  }

  choose() {
    for (const line of this.scroller.querySelectorAll(".log-line.chosen")) line.classList.remove("chosen");
    const [first, last] = this.chosen ?? [1, 0];
    for (const line of this.window.lines) {
      const number = Number(line.id.slice(1));
      if (number >= first && number <= last) line.classList.add("chosen");
    }
  }

  // Finding

  sought() {
    this.finding?.stop();
    this.finding = null;
    this.count.textContent = "";
    clearTimeout(this.waiting);
    const text = this.field.value;
    mark(this.window.lines, text);
    if (text) this.waiting = setTimeout(() => this.seek(), 250);
  }

  seek() {
    clearTimeout(this.waiting);
    const finding = new Finding(this.url, `q=${encodeURIComponent(this.field.value)}`, () => {
      if (this.finding === finding) this.count.textContent = finding.said;
    });
    this.finding = finding;
    finding.run();
  }

  /** @param {boolean} back */
  async find(back) {
    if (!this.field.value) {
      this.field.focus();
      return;
    }
    if (!this.finding) this.seek();
    else if (this.grows) this.finding.run();
    const finding = /** @type {Finding} */ (this.finding);
    await this.step(finding, back);
  }

  /** @param {boolean} back */
  async error(back) {
    const said = this.frame.querySelector('[data-do="error"] span');
    this.errors ??= new Finding(this.url, "errors=true", () => {
      if (said && this.errors) said.textContent = this.errors.hits.length ? `Error ${this.errors.said}` : this.errors.isAll ? "No error" : "Next error";
    });
    this.errors.run();
    await this.step(this.errors, back);
  }

  /** @param {Finding} finding @param {boolean} back */
  async step(finding, back) {
    const hit = await finding.step(this.here, back);
    if (!hit) return;
    for (const line of this.scroller.querySelectorAll(".log-line.here")) line.classList.remove("here");
    const line = await this.goTo(`.log-line[data-o="${hit.offset}"]`, `around=${hit.offset}`);
    line?.classList.add("here");
    this.here = hit.offset;
  }

  // What is pressed

  /** @param {MouseEvent} event */
  clicked(event) {
    const on = /** @type {Element} */ (event.target);
    const link = on.closest(".log-no[href]");
    if (link) {
      event.preventDefault();
      const number = Number(link.textContent);
      const first = event.shiftKey && this.chosen ? this.chosen[0] : number;
      this.chosen = [Math.min(first, number), Math.max(first, number)];
      history.replaceState(history.state, "", `#L${this.chosen[0]}${this.chosen[1] > this.chosen[0] ? `-L${this.chosen[1]}` : ""}`);
      this.choose();
    }
    if (on.closest(".log-fold")) this.folds.toggle(/** @type {HTMLElement} */ (on.closest(".log-line")), this.window.lines);
    const wanted = on.closest("button[data-do]");
    if (wanted instanceof HTMLElement && wanted.dataset.do !== "next") this.act(wanted.dataset.do ?? "");
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    /** @type {Record<string, string>} */
    const keys = { f: "field", n: "next", N: "before", e: "error", E: "error-before", s: "times", w: "wrap", o: "folds", G: "end" };
    const wanted = event.key === "End" && this.frame.contains(document.activeElement) ? "end" : keys[event.key];
    if (!wanted) return;
    event.preventDefault();
    this.act(wanted);
  }

  /** @param {string} wanted */
  act(wanted) {
    if (wanted === "field") this.field.focus(), this.field.select();
    else if (wanted === "next" || wanted === "before") this.find(wanted === "before");
    else if (wanted === "error" || wanted === "error-before") this.error(wanted === "error-before");
    else if (wanted === "end") this.toEnd();
    else if (wanted === "folds") this.folds.toggleAll(this.window.lines);
    else if (wanted === "wrap") this.keep({ wrap: !this.kept.wrap });
    else if (wanted === "times") this.keep({ times: TIMES[(TIMES.indexOf(this.kept.times) + 1) % TIMES.length] });
  }

  /** @param {Partial<{wrap: boolean, times: string}>} change */
  keep(change) {
    Object.assign(this.kept, change);
    localStorage.setItem(KEPT, JSON.stringify(this.kept));
    this.look();
    this.stamp(this.window.lines);
    if (this.following) this.toBottom();
  }

  /** Look as it was chosen. */
  look() {
    this.scroller.classList.toggle("nowrap", !this.kept.wrap);
    this.scroller.toggleAttribute("data-times", this.kept.times !== "");
    this.frame.querySelector('[data-do="wrap"]')?.setAttribute("aria-pressed", String(this.kept.wrap));
    const times = this.frame.querySelector('[data-do="times"]');
    times?.setAttribute("aria-pressed", String(this.kept.times !== ""));
    const said = times?.querySelector("span");
    if (said) said.textContent = this.kept.times === "since" ? "Since start" : this.kept.times ? "Time" : "Times";
  }
}

const known = new WeakSet();

function begin() {
  for (const frame of document.querySelectorAll("[data-log]")) {
    if (known.has(frame)) continue;
    known.add(frame);
    new LogView(/** @type {HTMLElement} */ (frame)).start();
  }
}

begin();
document.addEventListener("htmx:after:swap", begin);
