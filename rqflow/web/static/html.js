// @ts-check
// The one place where text becomes elements: what our own server has rendered, or what ansi_up has escaped.

/**
 * Return the elements that HTML stands for. Only for HTML in which everything of others is escaped already.
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function parsed(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content;
}
