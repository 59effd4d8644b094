// @ts-check
// The page of a run: choosing a task, a tab or a filter swaps a piece of the page, and the address with it. Without scripts the same links lead to pages.
import { htmx } from "./bridge.js";

/** The elements that links change: data-panel links the panel, data-list links and forms the list. */
const TARGETS = { panel: "panel", list: "tasks" };
let latest = 0;
/** The address of what is shown: a step to a line of a log changes only what stands behind its #. */
let shownAt = location.pathname + location.search;

/** @param {string} url @param {string} target id of the element @param {boolean} push whether one can go back from it */
async function go(url, target, push) {
  const on = document.getElementById(target);
  const asked = ++latest;
  if (!on) {
    location.assign(url);
    return;
  }
  if (push) history.pushState({ run: true }, "", url);
  else history.replaceState({ run: true }, "", url);
  shownAt = location.pathname + location.search;
  on.setAttribute("aria-busy", "true");
  await htmx.ajax("GET", url, { target: on, swap: `${target === "panel" ? "outerHTML" : "outerMorph"} ignoreTitle:true`, headers: { "HX-Target": `div#${target}` } });
  if (asked === latest) settle();
}

/** The address of a piece for what is chosen now: what the list is narrowed to and what the panel shows are both in the address of the page.
 * @param {string} url @param {"panel" | "list"} kind @returns {string} */
function merged(url, kind) {
  const wanted = new URL(url, location.href), now = new URL(location.href);
  const ofList = ["q", "state", "flip", "from"];
  if (kind === "panel") {
    for (const name of ofList) wanted.searchParams.delete(name);
    for (const [name, value] of now.searchParams) if (ofList.includes(name)) wanted.searchParams.append(name, value);
    return wanted.pathname + wanted.search;
  }
  const made = new URL(now.href);
  for (const name of ofList) made.searchParams.delete(name);
  for (const [name, value] of wanted.searchParams) if (ofList.includes(name) && value) made.searchParams.append(name, value);
  return made.pathname + made.search;
}

/** The task that the address names.
 * @returns {string} */
function chosen() {
  const found = /\/tasks\/([^/?]+)/.exec(location.pathname);
  return found ? decodeURIComponent(found[1]) : "";
}

/** Mark the chosen task in a list, and let what is got anew be asked for by the address that the page has now.
 * @param {ParentNode} root */
function mark(root) {
  const task = chosen();
  for (const row of root.querySelectorAll(".run-rows a[data-task]")) {
    if (row.getAttribute("data-task") === task) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

/** Choose a task while its graph is shown: the drawing stays, only what is above it changes.
 * @param {HTMLAnchorElement} link @returns {boolean} whether that was so */
function onGraph(link) {
  const url = merged(link.href, "panel");
  const [wanted, now] = [new URL(url, location.href), new URL(location.href)];
  const panel = document.getElementById("panel"), top = document.getElementById("panel-top");
  /** @param {URL} at */
  const drawn = (at) => [at.searchParams.get("near"), ...at.searchParams.getAll("open")].join("\n");
  /** @param {URL} at */
  const isGraph = (at) => (at.searchParams.get("tab") ?? (at.pathname.includes("/tasks/") ? "log" : "graph")) === "graph";
  if (!panel || !top || !document.querySelector("[data-graph]") || !isGraph(wanted) || !isGraph(now) || now.searchParams.has("near") || drawn(wanted) !== drawn(now)) return false;
  void go(url, "panel-top", true).then(() => {
    const task = chosen();
    panel.dataset.task = task;
    const node = document.querySelector(`.graph-states [data-kind="task"][href*="/tasks/${CSS.escape(encodeURIComponent(task))}?"]`);
    document.dispatchEvent(new CustomEvent("rqflow:chosen", { detail: task ? node?.getAttribute("data-node") ?? "" : "" }));
  });
  return true;
}

function settle() {
  mark(document);
  const here = location.pathname + location.search;
  for (const id of ["run-head", "tasks", "panel-top", "panel-body", "graph-states"]) {
    const on = document.getElementById(id);
    if (on?.hasAttribute("hx-get")) on.setAttribute("hx-get", here);
  }
  const title = document.getElementById("panel")?.getAttribute("data-title");
  if (title) document.title = title;
  const row = document.querySelector(".run-rows a[aria-current]");
  row?.scrollIntoView({ block: "nearest" });
}

/** A new try has begun, and the last one is to be shown: its log comes in the place of the one before. */
function follow() {
  const top = document.getElementById("panel-top"), body = document.getElementById("panel-body");
  const last = top?.getAttribute("data-last-try"), shown = body?.getAttribute("data-try");
  if (!body || last === null || last === undefined || shown === null || shown === undefined || last === shown) return;
  body.setAttribute("data-try", last); // asked once
  void htmx.ajax("GET", location.pathname + location.search, { target: body, swap: "outerHTML ignoreTitle:true", headers: { "HX-Target": "div#panel-body" } });
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = /** @type {Element} */ (event.target).closest("a[data-panel], a[data-list], [data-panel-links] a, .log-tries a");
  if (!(link instanceof HTMLAnchorElement) || !document.getElementById("panel")) return;
  event.preventDefault();
  const kind = link.hasAttribute("data-list") ? "list" : "panel";
  if (kind === "panel" && onGraph(link)) return;
  let url = link.href;
  const log = /\/logs\/([^/]+)\/(\d+)$/.exec(link.pathname);
  if (log) url = `${link.pathname.replace(/\/logs\/.*/, "")}/tasks/${log[1]}?try=${log[2]}`; // the log's own links to other tries lead to its page
  void go(merged(url, kind), TARGETS[kind], kind === "panel");
  if (kind === "panel" && matchMedia("(max-width: 900px)").matches) document.getElementById("panel-frame")?.scrollIntoView({ block: "start" });
});

/** @type {number | undefined} */
let timer;
document.addEventListener("input", (event) => {
  const form = /** @type {Element} */ (event.target).closest("form[data-list]");
  if (!(form instanceof HTMLFormElement)) return;
  clearTimeout(timer);
  timer = setTimeout(() => narrow(form), 250);
});
document.addEventListener("submit", (event) => {
  const form = /** @type {Element} */ (event.target);
  if (!(form instanceof HTMLFormElement) || !form.hasAttribute("data-list")) return;
  event.preventDefault();
  clearTimeout(timer);
  narrow(form);
});

/** @param {HTMLFormElement} form */
function narrow(form) {
  const url = new URL(location.href);
  url.searchParams.delete("q");
  url.searchParams.delete("from");
  const text = String(new FormData(form).get("q") ?? "").trim();
  if (text) url.searchParams.set("q", text);
  void go(url.pathname + url.search, "tasks", false);
}

// What comes is marked before it is put in place, so that nothing flickers.
document.addEventListener("htmx:before:swap", (event) => {
  for (const task of /** @type {CustomEvent} */ (event).detail.tasks) mark(task.fragment);
});
document.addEventListener("htmx:after:swap", follow);
// Going back changes the same pieces; htmx would load the page anew.
document.addEventListener("htmx:before:history:restore", (event) => event.preventDefault());
addEventListener("popstate", () => {
  const url = location.pathname + location.search;
  if (url === shownAt) return;
  shownAt = url;
  const field = document.querySelector("form[data-list] input[name=q]");
  if (field instanceof HTMLInputElement) field.value = new URLSearchParams(location.search).get("q") ?? "";
  latest += 1;
  void Promise.all(["panel", "tasks"].map((id) => {
    const on = document.getElementById(id);
    return on ? htmx.ajax("GET", url, { target: on, swap: "outerHTML ignoreTitle:true", headers: { "HX-Target": `div#${id}` } }) : undefined;
  })).then(settle);
});
// What runs grows on a timeline, also while nothing happens.
setInterval(() => {
  const on = document.querySelector("#panel-body[data-grows]");
  if (on && !document.hidden) htmx.trigger(on, "live", {});
}, 5_000);
settle();
