// @ts-check
// Runs before the page is drawn, so that nothing flashes: the theme, the width of the menu, and that there are scripts at all.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const theme = localStorage.getItem("rqflow.theme");
    const dark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.bsTheme = dark ? "dark" : "light";
    if (localStorage.getItem("rqflow.nav") === "slim") root.dataset.nav = "slim";
    const split = localStorage.getItem("rqflow.split");
    if (split && /^\d{2,4}px$/.test(split)) root.style.setProperty("--split", split);
  } catch { /* no storage for this page: the defaults hold */ }
})();
