// @ts-check
// One stream of events a tab. Elements with data-live (run:KEY, dag:ID, all) are got anew and morphed in place when their topic changes,
// when that was not done for 30 s (3 s with data-soon), and when a hidden tab is looked at again. A lost connection shows a bar until it is back.
import { htmx } from "./bridge.js";

// The server ends each stream after 300 s, and says nothing that we hear while nothing changes.
const POLL = 30_000, SILENCE = 330_000, PATIENCE = 6_000;

/** @type {EventSource | null} */
let stream = null;
/** What the stream was asked for. */
let asked = "";
/** When something was heard last; milliseconds. */
let heard = 0;
/** What fails now, and how it is told: the stream, getting a fragment.
 * @type {Map<"stream" | "fragment", string>} */
const failing = new Map();
const LOST = "Connection to the server lost, trying again. What you see may be old.";

/** @returns {HTMLElement[]} */
function watchers() {
  return [...document.querySelectorAll("[data-live]")].map((one) => /** @type {HTMLElement} */ (one));
}

/** Compare ids of the event stream such as 1700000000000-3.
 * @param {string} one @param {string} other @returns {boolean} whether `one` is `other` or after it */
function reaches(one, other) {
  const [a, b] = [one, other].map((id) => id.split("-").map(Number));
  return a[0] > b[0] || (a[0] === b[0] && (a[1] ?? 0) >= (b[1] ?? 0));
}

/** Up to which event each element is wanted to be, and when it was asked for last: what other tabs were shown just now may do for it.
 * @type {WeakMap<Element, {upto: string, at: number}>} */
const wanted = new WeakMap();

/** @param {HTMLElement} one @param {string} upto the newest event that it must show; empty: all that there is now */
function renew(one, upto = "") {
  // What is being typed in, or chosen from, is left alone; the poll comes back to it.
  if (one.contains(document.activeElement) && document.activeElement?.matches("input:not([type=checkbox]), textarea, select")) return;
  wanted.set(one, { upto, at: Date.now() });
  htmx.trigger(one, "live", {});
}

/** @param {Event} event */
function ask(event) {
  const { ctx } = /** @type {CustomEvent} */ (event).detail;
  const upto = wanted.get(ctx?.sourceElement)?.upto;
  if (upto) ctx.request.headers["Rqflow-Upto"] = upto;
}

/** @param {string} id @param {{all?: boolean, runs?: string[], dags?: string[]}} told `all`: whatever this page shows may have changed */
function changed(id, told) {
  const topics = new Set([...(told.runs ?? []).map((key) => `run:${key}`), ...(told.dags ?? []).map((key) => `dag:${key}`), "all"]);
  for (const one of watchers()) {
    const upto = one.dataset.upto ?? "";
    const concerned = (one.dataset.live ?? "").split(" ").some((topic) => topics.has(topic));
    if (told.all || (concerned && !(upto && id && reaches(upto, id)))) renew(one, id);
  }
}

/** The address of the stream for what this page shows; empty when nothing of it is live.
 * @returns {string} */
function address() {
  const topics = new Set(watchers().flatMap((one) => (one.dataset.live ?? "").split(" ")).filter(Boolean));
  if (!topics.size) return "";
  const query = new URLSearchParams();
  if (!topics.has("all")) {
    for (const topic of [...topics].sort()) {
      const [kind, ...name] = topic.split(":");
      query.append(kind, name.join(":"));
    }
  }
  return `/events${query.size ? "?" + query : ""}`;
}

/** The newest event that all elements show which say so, as a part of the address of the stream: what happened after it, before anybody listened,
 * is told at once.
 * @returns {string} */
function since() {
  const shown = watchers().map((one) => one.dataset.upto ?? "").filter(Boolean);
  return shown.length ? `since=${shown.reduce((one, other) => (reaches(one, other) ? other : one))}` : "";
}

/** Note that something fails, or that it works again; when all works again everything is got anew.
 * @param {"stream" | "fragment"} what @param {string} why empty when it works */
function mark(what, why) {
  const failed = failing.size > 0;
  if (why) failing.set(what, why);
  else failing.delete(what);
  if (failed === failing.size > 0) return;
  const bar = document.getElementById("lost");
  if (!failing.size) {
    if (bar) bar.hidden = true;
    for (const one of watchers()) renew(one);
    return;
  }
  // A restart of the server is over before anybody needs to know.
  setTimeout(() => {
    const [said] = failing.values();
    const words = bar?.querySelector("span");
    if (!bar || !words || !said) return;
    words.textContent = said;
    bar.hidden = false;
  }, PATIENCE);
}

function close() {
  stream?.close();
  stream = null;
  asked = "";
}

function connect() {
  const url = document.hidden ? "" : address();
  if (url === asked && stream?.readyState !== EventSource.CLOSED) return;
  close();
  if (!url) return;
  asked = url;
  const opened = new EventSource(`${url}${url.includes("?") ? "&" : "?"}${since()}`);
  stream = opened;
  const alive = () => {
    heard = Date.now();
    mark("stream", "");
  };
  opened.addEventListener("open", alive);
  opened.addEventListener("changed", (event) => {
    alive();
    changed(event.lastEventId, JSON.parse(event.data));
  });
  opened.addEventListener("error", () => { if (stream === opened) mark("stream", LOST); });
}

function look() {
  if (document.hidden) return;
  // A proxy or a sleeping machine may leave a stream open that says nothing any more; one that the server refused is closed for good.
  if (stream && (stream.readyState === EventSource.CLOSED || (heard && Date.now() - heard > SILENCE))) close();
  connect();
  const [first] = watchers();
  if (failing.has("fragment") && first) renew(first);
  // What changes without an event, such as a backfill that ends.
  for (const one of watchers()) if ("soon" in one.dataset) renew(one);
}

/** Whether fragments can be got says more than the stream: a proxy may hold that one open.
 * @param {Event} event */
function told(event) {
  const { ctx } = /** @type {CustomEvent} */ (event).detail;
  if (!ctx?.sourceElement?.hasAttribute?.("data-live")) return;
  const status = ctx.response?.status ?? 0;
  mark("fragment", status === 0 ? LOST : status >= 500 ? `The server cannot answer now (${status}), trying again. What you see may be old.` : "");
}

/** Begin. */
export function start() {
  connect();
  const began = Date.now();
  setInterval(() => {
    look();
    if (document.hidden) return;
    for (const one of watchers()) {
      if (Date.now() - (wanted.get(one)?.at ?? began) >= POLL) renew(one, one.dataset.upto);
    }
  }, 3_000);
  document.addEventListener("htmx:config:request", ask);
  document.addEventListener("htmx:after:swap", () => connect());
  document.addEventListener("htmx:after:request", told);
  document.addEventListener("htmx:error", told);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      // A tab that is looked at for a moment only should not connect anew each time.
      setTimeout(() => { if (document.hidden) close(); }, 5_000);
      return;
    }
    connect();
    for (const one of watchers()) renew(one);
  });
  addEventListener("online", look);
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}
