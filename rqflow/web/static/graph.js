// @ts-check
// Draws the graph in [data-graph] from the DOT in its .graph-dot: laid out once by viz-js, moved and zoomed by panzoom; states are classes that are set by
// the links of .graph-states (data-node, data-state, data-counts), which are got anew when something changes. A click on a node follows its link.
import { toast } from "./toasts.js";

/** From so many nodes on the layout is made beside the page. */
const MANY = 300;
/** A smaller scale than this one nobody reads: a graph is not shown so at first. */
const READABLE = 0.55;
/** A little graph is shown larger than it was laid out, up to this scale. */
const LARGEST = 1.8;
const SVG = "http://www.w3.org/2000/svg";
/** A sign for each state, for those who do not tell its colour. */
const SIGNS = { success: "✓", failed: "✕", running: "▸", queued: "…", parked: "‖", skipped: "»", upstream_failed: "↑", up_for_retry: "↻",
  up_for_reschedule: "◷", lost: "?", cancelled: "■", unreachable: "!" };

/** @type {Map<string, Promise<void>>} */
const loading = new Map();

/** Load a script once.
 * @param {string} url @returns {Promise<void>} */
function load(url) {
  let found = loading.get(url);
  if (!found) {
    found = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.addEventListener("load", () => resolve());
      script.addEventListener("error", () => { loading.delete(url); reject(new Error("the drawing program cannot be loaded")); });
      document.head.append(script);
    });
    loading.set(url, found);
  }
  return found;
}

/** @param {HTMLElement} canvas @returns {Promise<SVGSVGElement>} */
async function laidOut(canvas) {
  const dot = canvas.querySelector(".graph-dot")?.textContent ?? "";
  const viz = canvas.dataset.viz ?? "";
  if (Number(canvas.dataset.nodes) <= MANY) {
    await load(viz);
    const made = await /** @type {any} */ (window).Viz.instance();
    return made.renderSVGElement(dot);
  }
  const worker = new Worker(canvas.dataset.worker ?? "");
  try {
    const text = await new Promise((resolve, reject) => {
      worker.addEventListener("message", (event) => (event.data.error ? reject(new Error(event.data.error)) : resolve(event.data.svg)));
      worker.addEventListener("error", (event) => reject(new Error(event.message)));
      worker.postMessage({ viz, dot });
    });
    const page = new DOMParser().parseFromString(text, "image/svg+xml");
    return /** @type {SVGSVGElement} */ (document.importNode(page.documentElement, true));
  } finally {
    worker.terminate();
  }
}

class Graph {
  /** @param {HTMLElement} canvas @param {SVGSVGElement} svg */
  constructor(canvas, svg) {
    this.canvas = canvas;
    this.svg = svg;
    /** @type {Map<string, SVGGElement>} */
    this.nodes = new Map();
    /** Edges by the ids of their ends.
     * @type {{above: string, below: string, on: SVGGElement}[]} */
    this.edges = [];
    this.moved = false;
    svg.querySelectorAll("g.graph > polygon:first-of-type").forEach((ground) => ground.remove());
    for (const on of /** @type {NodeListOf<SVGGElement>} */ (svg.querySelectorAll("g.node"))) this.nodes.set(on.id, on);
    for (const on of /** @type {NodeListOf<SVGGElement>} */ (svg.querySelectorAll("g.edge"))) {
      const [above, below] = (on.querySelector("title")?.textContent ?? "").split("->");
      on.querySelector("title")?.remove();
      this.edges.push({ above, below, on });
    }
    // Edges are drawn first: they would lie over the signs of the nodes at which they end.
    for (const on of this.nodes.values()) on.parentNode?.append(on);
    svg.querySelectorAll("[fill]:not([fill=none]), [stroke]").forEach((on) => { on.removeAttribute("fill"); on.removeAttribute("stroke"); });
    svg.querySelectorAll(".edge path").forEach((on) => on.setAttribute("fill", "none"));
    this.size = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
    svg.setAttribute("width", String(this.size.width));
    svg.setAttribute("height", String(this.size.height));
    svg.setAttribute("aria-hidden", "true");
  }

  start() {
    this.canvas.querySelector(".graph-wait")?.remove();
    this.canvas.append(this.svg);
    const [scale, x, y] = this.place(READABLE);
    this.panzoom = /** @type {any} */ (window).Panzoom(this.svg, {
      maxScale: 6, minScale: 0.02, canvas: true, cursor: "", origin: "0 0", touchAction: "none", startScale: scale, startX: x, startY: y });
    this.canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.panzoom.zoomWithWheel(event); }, { passive: false });
    let from = [0, 0];
    this.canvas.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; this.moved = false; });
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons && Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 4) this.moved = true; });
    this.canvas.addEventListener("click", (event) => this.clicked(/** @type {Element} */ (event.target)));
    this.svg.addEventListener("pointerover", (event) => this.light(/** @type {Element} */ (event.target).closest("g.node")?.id ?? ""));
    this.svg.addEventListener("pointerleave", () => this.light(""));
    for (const node of this.nodes.values()) squeeze(node);
    this.paint();
  }

  /** Where the drawing stands so that all of it is seen; at no smaller scale than `least`: its beginning, then.
   * @param {number} least @returns {[number, number, number]} scale, and the place in units of the drawing */
  place(least) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = Math.max(least, Math.min(LARGEST, (width - 24) / this.size.width, (height - 24) / this.size.height));
    const [x, y] = [width / scale - this.size.width, height / scale - this.size.height];
    return [scale, Math.max(x / 2, 8), y > 0 ? y / 2 : 8];
  }

  /** Show all of it. */
  fit() {
    const [scale, x, y] = this.place(0);
    this.panzoom.zoom(scale, { force: true });
    this.panzoom.pan(x, y, { force: true });
  }

  /** @param {Element} on */
  clicked(on) {
    if (this.moved) return;
    const node = on.closest("g.node, g.cluster");
    if (node) this.link(node.id)?.click();
  }

  /** @param {string} id @returns {HTMLElement | null} */
  link(id) {
    return document.querySelector(`.graph-states [data-node="${CSS.escape(id)}"]`);
  }

  /** Set the states of all nodes. */
  paint() {
    for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".graph-states [data-node]"))) {
      const node = this.nodes.get(link.dataset.node ?? "");
      if (!node) continue;
      const stands = `${link.dataset.state ?? ""} ${link.dataset.counts ?? ""}`;
      if (node.dataset.stands === stands) continue;
      node.dataset.stands = stands;
      node.setAttribute("class", ["node", ...[...node.classList].filter((name) => name !== "node" && !name.startsWith("st-"))].join(" "));
      if (link.dataset.state) node.classList.add(`st-${link.dataset.state}`);
      this.mark(node, link);
    }
    const chosen = this.canvas.dataset.chosen;
    for (const [id, node] of this.nodes) node.classList.toggle("chosen", id === chosen);
  }

  /** Put the sign of its state, and for many tasks how many are in which, on a node.
   * @param {SVGGElement} node @param {HTMLElement} link */
  mark(node, link) {
    node.querySelectorAll(".mark, .bar").forEach((on) => on.remove());
    const title = node.querySelector("title");
    if (title) title.textContent = link.textContent?.trim().replace(/\s+/g, " ") ?? "";
    const shape = /** @type {SVGGraphicsElement | null} */ (node.querySelector("path, polygon, ellipse"));
    const state = link.dataset.state ?? "", sign = SIGNS[/** @type {keyof typeof SIGNS} */ (state)];
    if (!shape || !sign) return;
    const box = shape.getBBox();
    const mark = made("g", { class: "mark" });
    mark.append(made("circle", { cx: box.x + 1, cy: box.y + 1, r: 6 }));
    const text = made("text", { x: box.x + 1, y: box.y + 4.2 });
    text.textContent = sign;
    mark.append(text);
    node.append(mark);
    const counts = (link.dataset.counts ?? "").trim().split(" ").filter(Boolean).map((one) => one.split(":"));
    const all = counts.reduce((sum, [, count]) => sum + Number(count), 0);
    if (!all) return;
    const bar = made("g", { class: "bar" });
    let x = box.x + 5;
    for (const [name, count] of counts) {
      const width = ((box.width - 10) * Number(count)) / all;
      bar.append(made("rect", { class: `st-${name}`, x, y: box.y + box.height - 4.5, width, height: 3 }));
      x += width;
    }
    node.append(bar);
  }

  /** Show what a node depends on and what depends on it; none: all alike.
   * @param {string} id */
  light(id) {
    this.canvas.classList.toggle("lit", Boolean(id));
    const near = new Set(id ? [id] : []);
    /** @param {"above" | "below"} from @param {"above" | "below"} to */
    const walk = (from, to) => {
      const rest = [id];
      const seen = new Set(rest);
      while (rest.length) {
        const at = rest.pop();
        for (const edge of this.edges) {
          if (edge[from] !== at) continue;
          edge.on.classList.add("near");
          if (!seen.has(edge[to])) { seen.add(edge[to]); near.add(edge[to]); rest.push(edge[to]); }
        }
      }
    };
    for (const edge of this.edges) edge.on.classList.remove("near");
    if (id) { walk("above", "below"); walk("below", "above"); }
    for (const [name, node] of this.nodes) node.classList.toggle("near", near.has(name));
  }

  /** The drawing as a file of its own, with its colours.
   * @returns {string} */
  file() {
    const copy = /** @type {SVGSVGElement} */ (this.svg.cloneNode(true));
    copy.removeAttribute("style");
    const [from, to] = [this.svg, copy].map((one) => [...one.querySelectorAll("path, polygon, ellipse, circle, rect, text")]);
    from.forEach((one, number) => {
      const style = getComputedStyle(one);
      for (const name of ["fill", "stroke", "stroke-width", "font-family", "font-size", "text-anchor"]) to[number].setAttribute(name, style.getPropertyValue(name));
    });
    const ground = made("rect", { width: "100%", height: "100%", fill: getComputedStyle(this.canvas).backgroundColor });
    copy.prepend(ground);
    copy.setAttribute("xmlns", SVG);
    return new XMLSerializer().serializeToString(copy);
  }

  async png() {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(this.file())}`;
    await image.decode();
    const scale = Math.min(2, 16_000 / Math.max(this.size.width, this.size.height));
    const sheet = document.createElement("canvas");
    sheet.width = Math.ceil(this.size.width * scale);
    sheet.height = Math.ceil(this.size.height * scale);
    sheet.getContext("2d")?.drawImage(image, 0, 0, sheet.width, sheet.height);
    return /** @type {Promise<Blob>} */ (new Promise((resolve, reject) => sheet.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large"))), "image/png")));
  }
}

/** Keep the words on a node within it: the layout does not know the browser's letters.
 * @param {SVGGElement} node */
function squeeze(node) {
  const shape = /** @type {SVGGraphicsElement | null} */ (node.querySelector("path, polygon, ellipse"));
  const room = (shape?.getBBox().width ?? 0) - 10;
  for (const text of node.querySelectorAll("text")) {
    if (room <= 0 || text.getComputedTextLength() <= room) continue;
    text.setAttribute("textLength", String(room));
    text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
}

/** @param {string} name @param {Record<string, string | number>} attributes @returns {SVGElement} */
function made(name, attributes) {
  const on = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) on.setAttribute(key, String(value));
  return on;
}

/** @param {Blob} blob @param {string} name */
function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @type {WeakMap<Element, Graph | null>} */
const known = new WeakMap();

/** @param {HTMLElement} canvas */
async function draw(canvas) {
  known.set(canvas, null);
  try {
    await load(canvas.dataset.panzoom ?? "");
    const graph = new Graph(canvas, await laidOut(canvas));
    if (!canvas.isConnected) return;
    known.set(canvas, graph);
    graph.start();
  } catch (error) {
    const said = canvas.querySelector(".graph-wait");
    if (said) said.textContent = `It cannot be drawn: ${error instanceof Error ? error.message : error}. The list below says the same.`;
  }
}

function begin() {
  for (const canvas of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-graph]"))) {
    const graph = known.get(canvas);
    if (graph) graph.paint();
    if (known.has(canvas)) continue;
    if (!canvas.hasAttribute("data-ask")) {
      void draw(canvas);
      continue;
    }
    known.set(canvas, null);
    const said = canvas.querySelector(".graph-wait");
    if (!said) continue;
    said.textContent = `${canvas.dataset.nodes} nodes are more than one can read. `;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn";
    button.textContent = "Draw them all the same";
    button.addEventListener("click", () => { said.textContent = "Drawing…"; void draw(canvas); });
    said.append(button);
  }
}

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("[data-graph-do]");
  const canvas = /** @type {HTMLElement | null} */ (document.querySelector("[data-graph]"));
  const graph = canvas ? known.get(canvas) : null;
  if (!button || !canvas || !graph) return;
  const wanted = button.getAttribute("data-graph-do"), name = canvas.dataset.name ?? "graph";
  if (wanted === "fit") graph.fit();
  else if (wanted === "svg") keep(new Blob([graph.file()], { type: "image/svg+xml" }), `${name}.svg`);
  else {
    try {
      keep(await graph.png(), `${name}.png`);
    } catch (error) {
      toast(`No picture: ${error instanceof Error ? error.message : error}`, "bad");
    }
  }
});
document.addEventListener("rqflow:chosen", (event) => {
  const canvas = /** @type {HTMLElement | null} */ (document.querySelector("[data-graph]"));
  if (!canvas) return;
  canvas.dataset.chosen = /** @type {CustomEvent} */ (event).detail;
  known.get(canvas)?.paint();
});
document.addEventListener("htmx:after:swap", begin);
begin();
