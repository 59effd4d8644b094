// @ts-check
// What every page does with JavaScript; without it everything works by links and forms. One module a job.
import * as bridge from "./bridge.js";
import * as copying from "./copying.js";
import * as dialogs from "./dialogs.js";
import * as forms from "./forms.js";
import * as keyboard from "./keyboard.js";
import * as live from "./live.js";
import * as menus from "./menus.js";
import * as search from "./search.js";
import * as split from "./split.js";
import * as tabs from "./tabs.js";
import * as theme from "./theme.js";
import * as times from "./times.js";
import * as toasts from "./toasts.js";
import * as toggles from "./toggles.js";

for (const job of [bridge, theme, times, toasts, menus, dialogs, toggles, forms, copying, keyboard, split, tabs, search, live]) job.start();
