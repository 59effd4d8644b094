"""What axe-core says of a page, with less work where many pages are made of the same parts: how text stands out is judged once for each look."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.browser import AXE

#: Rules whose answer depends on theme and width; the first takes longer than all others together.
OF_LOOKS = ("color-contrast", "link-in-text-block", "scrollable-region-focusable")
#: Numbers texts by what rules ask of their look: colour, whether they are large, links, and what lies behind; and what scrolls and cannot be got at by keys. Keeps one element of each.
_LOOKS = """() => {
  const looks = window.looks = new Map();
  const number = (text) => [...text].reduce((sum, letter) => (Math.imul(sum, 31) + letter.codePointAt(0)) | 0, 7);
  const walk = (element, behind) => {
    const style = getComputedStyle(element);
    if (style.display === "none" || style.visibility === "hidden") return;
    const painted = style.backgroundImage !== "none" ? element.className : style.backgroundColor !== "rgba(0, 0, 0, 0)" ? style.backgroundColor : "";
    const there = (painted.startsWith("rgb(") ? painted : behind + painted) + (style.opacity < 1 ? style.opacity : "");
    if ([...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim()) || element.matches("input, select, textarea")) {
      const large = parseFloat(style.fontSize) >= (style.fontWeight >= 700 ? 18.6 : 24);
      const link = element.closest("a") ? style.textDecorationLine : "";
      const own = number([style.color, large, link, there].join(" "));
      if (!looks.has(own)) looks.set(own, element);
    }
    const over = /auto|scroll/.test(style.overflow) && (element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight);
    if (over && element.tabIndex < 0 && !element.querySelector("a[href], button, input, select, textarea, summary, [tabindex='0']"))
      looks.set(number(`scrolls ${Math.random()}`), element);
    for (const one of element.children) walk(one, there);
  };
  walk(document.body, "");
  return [...looks.keys()];
}"""
_SAID = """(all) => all.violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => `${one.id}: `
  + one.nodes.slice(0, 4).map((node) => `${node.target} (${node.any[0]?.message ?? node.failureSummary})`).join("; "))"""
_ALL = f"""(but) => axe.run(document, {{resultTypes: ["violations"], rules: Object.fromEntries(but.map((one) => [one, {{enabled: false}}]))}}).then({_SAID})"""
_SOME = f"""([rules, numbers]) => axe.run({{include: numbers.map((one) => window.looks.get(one))}},
  {{resultTypes: ["violations"], runOnly: rules}}).then({_SAID})"""


class Looks:
    """Judges the pages of a browser's context."""

    def __init__(self, context: BrowserContext) -> None:
        """Let each page of it have axe-core; it is not sent to each."""
        context.add_init_script(path=AXE)
        self._seen: dict[str, set[int]] = {}

    def wrong(self, page: Page, look: str, *, whole: bool) -> list[str]:
        """Return what is serious or critical of texts that have not been seen before in this `look`, a theme with a width, and of what scrolls; with
        `whole` by all other rules, too.
        """
        found: list[str] = page.evaluate(_ALL, list(OF_LOOKS)) if whole else []
        seen = self._seen.setdefault(look, set())
        new: list[Any] = [one for one in page.evaluate(_LOOKS) if one not in seen]
        seen.update(new)
        return [*found, *(page.evaluate(_SOME, [list(OF_LOOKS), new]) if new else ())]
