// @ts-check
// Lays out a large graph beside the page. Asked with {viz, dot}: the URL of viz-js and the text; answers {svg} or {error}.
onmessage = async (event) => {
  try {
    importScripts(event.data.viz);
    const viz = await /** @type {any} */ (self).Viz.instance();
    postMessage({ svg: viz.renderString(event.data.dot, { format: "svg" }) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
