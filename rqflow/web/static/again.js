// @ts-check
// A page that could not be made because something is away: it is asked for until it can be.

const EVERY = 3_000;

async function look() {
  let status = 503;
  try {
    if (!document.hidden) status = (await fetch(location.href, { redirect: "manual" })).status;
  } catch {
    // The web server itself is away now, too.
  }
  if (status === 503) setTimeout(look, EVERY);
  else location.reload();
}

setTimeout(look, EVERY);
