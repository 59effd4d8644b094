// @ts-check
// Times: absolute in UTC or in the browser's own zone, relative beside them, and durations that tick. Pages come with UTC.
import { say } from "./toasts.js";

const KEY = "rqflow.zone";
const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const MINUTE = 60, HOUR = 3600, DAY = 86400;

/** @returns {boolean} */
function isLocal() {
  return localStorage.getItem(KEY) === "local";
}

/** The time as 2026-11-29 15:20:44 in the chosen zone.
 * @param {Date} when @param {boolean} local @returns {string} */
export function absolute(when, local = isLocal()) {
  const at = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: local ? own : "UTC" });
  return at.format(when);
}

/** How long ago or in how long, in one unit; as `ago` in rendering.py.
 * @param {Date} when @param {number} now milliseconds @returns {string} */
export function relative(when, now = Date.now()) {
  const seconds = (now - when.getTime()) / 1000;
  const amount = Math.abs(seconds);
  const [size, unit] = amount < 90 ? [1, "s"] : amount < 5400 ? [MINUTE, "min"] : amount < 129600 ? [HOUR, "h"] : [DAY, "d"];
  const said = `${Math.round(amount / Number(size))} ${unit}`;
  return seconds >= 0 ? `${said} ago` : `in ${said}`;
}

/** A duration; as duration_words of the server.
 * @param {number} seconds @returns {string} */
export function duration(seconds) {
  if (seconds > 0 && seconds < 0.0995) return `${Math.max(seconds * 1000, 1).toFixed(0)}ms`;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  if (seconds < MINUTE) return `${Math.floor(seconds)}s`;
  const minutes = Math.floor(seconds / MINUTE);
  if (minutes < 60) return `${minutes}m${String(Math.floor(seconds % MINUTE)).padStart(2, "0")}s`;
  return `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, "0")}m`;
}

/** @param {Element} on @param {string} text */
function write(on, text) {
  if (on.textContent !== text) on.textContent = text; // else a selection in it would go
}

/** Write all times below `root` in the chosen zone.
 * @param {ParentNode} root */
export function show(root) {
  const now = Date.now(), local = isLocal();
  for (const time of root.querySelectorAll("time[data-moment]")) {
    const when = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(when.getTime())) continue;
    const style = time.getAttribute("data-moment");
    const text = absolute(when, local);
    if (style === "both") {
      const [clock, since] = [time.querySelector("span"), time.querySelector("small")];
      if (clock) write(clock, text);
      if (since) write(since, relative(when, now));
    } else {
      write(time, style === "ago" ? relative(when, now) : text);
    }
    const title = `${absolute(when, false)} UTC` + (own === "UTC" ? "" : `\n${absolute(when, true)} ${own}`);
    if (time.getAttribute("title") !== title) time.setAttribute("title", title);
  }
  for (const span of root.querySelectorAll("[data-since]")) {
    const since = new Date(span.getAttribute("data-since") ?? "").getTime();
    if (!Number.isNaN(since)) write(span, duration(Math.max(0, (now - since) / 1000)).replace(/^\d+ms$/, "0s").replace(/\.\ds$/, "s"));
  }
}

/** Change between UTC and the browser's zone. */
export function toggle() {
  localStorage.setItem(KEY, isLocal() ? "utc" : "local");
  refresh();
  say(`Times in ${isLocal() ? own : "UTC"}`);
}

function refresh() {
  for (const name of document.querySelectorAll("[data-zone-name]")) write(name, isLocal() ? own.split("/").pop()?.replaceAll("_", " ") ?? own : "UTC");
  show(document);
  document.dispatchEvent(new CustomEvent("rqflow:zone"));
}

/** Begin. */
export function start() {
  refresh();
  setInterval(() => { if (!document.hidden) show(document); }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) show(document); });
  addEventListener("storage", (event) => { if (event.key === KEY) refresh(); });
  document.addEventListener("click", (event) => { if (/** @type {Element} */ (event.target).closest("[data-zone-switch]")) toggle(); });
}
