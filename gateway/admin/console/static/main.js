// Chooses the page by the address, asks for its data while somebody looks, and shows what changed.

import { get, Lost, post } from "./api.js";
import { h, morphChildren } from "./dom.js";
import { clock, span } from "./format.js";
import { title as heading } from "./parts.js";
import * as clusters from "./pages/clusters.js";
import * as configuration from "./pages/configuration.js";
import * as graph from "./pages/graph.js";
import * as identities from "./pages/identities.js";
import * as overview from "./pages/overview.js";
import * as rejected from "./pages/rejected.js";
import * as requests from "./pages/requests.js";
import * as routes from "./pages/routes.js";
import * as traces from "./pages/traces.js";

const PAGES = { overview, graph, routes, clusters, requests, traces, rejected, identities, configuration };
const NARROW = matchMedia("(max-width: 760px)");

const main = document.getElementById("main");
const announcer = document.getElementById("announcer");

const view = {
  name: "overview",
  page: overview,
  params: new URLSearchParams(),
  data: null,
  frame: null,
  lost: null,
  /** What pages keep between two renderings, until another page is chosen. */
  memory: {},
  paused: false,
};
let timer = 0;
let asking = null;

// -- showing -----------------------------------------------------------------------------------

function tools() {
  return {
    params: view.params,
    memory: view.memory,
    narrow: NARROW.matches,
    // A page that is not laid out yet has no width.
    width: Math.max(main.clientWidth - parseFloat(getComputedStyle(main).paddingLeft) * 2, 300),
    refresh: render,
    reask: () => ask(),
    announce,
    post,
    /** Changes the address' parameters without a new entry in the history. */
    choose(changes) {
      for (const [name, value] of Object.entries(changes)) {
        if (value) view.params.set(name, value);
        else view.params.delete(name);
      }
      const text = view.params.toString();
      history.replaceState(null, "", `#/${view.name}${text ? `?${text}` : ""}`);
      ask();
    },
  };
}

function render() {
  renderFrame();
  const fresh = h("div");
  if (view.lost) {
    fresh.append(h("p", { class: "notice bad", role: "alert", "data-key": "lost" }, `${view.lost}; trying again.`));
  }
  // The heading is there from the beginning and stays: it may have the focus.
  const waiting = view.data === null;
  const inside = waiting ? [heading(view.page.title), view.lost ? null : h("p", { class: "empty" }, "Asking the gateway …")] : view.page.render(view.data, tools());
  fresh.append(h("div", { class: "page", "data-key": view.name, "aria-busy": waiting && "true" }, inside));
  morphChildren(main, fresh);
}

function renderFrame() {
  const frame = view.frame;
  const fresh = h("p");
  if (view.lost) fresh.append(h("span", { class: "badge bad" }, "not answering"));
  else if (frame) {
    const kind = { ready: "good", draining: "warn" }[frame.state] ?? "idle";
    fresh.append(
      h("span", { class: `badge ${kind}` }, frame.state),
      h("a", { href: "#/configuration" }, `generation ${frame.generation}`),
      ...workers(frame.workers ?? []),
      h("span", { class: "wide" }, `up ${span(frame.time - frame.started_at)}`),
      h("span", { class: "wide" }, `version ${frame.version}`),
      h("span", { class: "wide moment" }, clock(frame.time)),
    );
  }
  morphChildren(document.getElementById("frame"), fresh);
}

/** How many processes there are; those that are not as they should be, by number. */
function workers(rows) {
  if (!rows.length) return [];
  const odd = [["silent", "bad"], ["behind", "warn"]].flatMap(([what, kind]) => {
    const numbers = rows.filter((row) => row[what]).map((row) => row.worker);
    return numbers.length ? [h("span", { class: `badge ${kind}` }, `worker ${numbers.join(", ")} ${what}`)] : [];
  });
  return [h("span", { class: "wide" }, `${rows.length} workers`), ...odd];
}

function announce(text) {
  announcer.textContent = "";
  // A changed text is read; the same one twice is not.
  requestAnimationFrame(() => {
    announcer.textContent = text;
  });
}

// -- asking ------------------------------------------------------------------------------------

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const { page } = view;
  try {
    const data = await page.load(get, view.params, mine.signal, view.memory);
    if (mine.signal.aborted) return;
    view.data = data;
    view.frame = data.frame ?? data;
    if (view.lost) announce("The gateway answers again.");
    view.lost = null;
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof Lost)) throw error;
    if (!view.lost) announce(`${error.message}.`);
    view.lost = error.message;
  } finally {
    if (!mine.signal.aborted) {
      render();
      if (!view.paused && !document.hidden) timer = setTimeout(ask, page.interval ?? 2000);
    }
  }
}

// -- choosing ----------------------------------------------------------------------------------

function follow() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const name = path in PAGES ? path : "overview";
  const moved = name !== view.name;
  Object.assign(view, { name, page: PAGES[name], params: new URLSearchParams(query) });
  if (moved) Object.assign(view, { data: null, memory: {} });
  document.title = `${view.page.title} - asgi-gateway`;
  for (const link of document.querySelectorAll("#links a")) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (moved) {
    showMenu(false);
    render();
    scrollTo(0, 0);
    document.getElementById("title")?.focus({ preventScroll: true });
  }
  ask();
}

function showMenu(shown) {
  document.getElementById("menu").setAttribute("aria-expanded", String(shown));
  document.getElementById("nav").classList.toggle("shown", shown);
}

function begin() {
  document.getElementById("links").append(
    ...Object.entries(PAGES).map(([name, page]) => h("li", null, h("a", { href: `#/${name}` }, page.title))),
  );
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document.getElementById("menu").addEventListener("click", (event) => {
    showMenu(event.currentTarget.getAttribute("aria-expanded") !== "true");
  });
  document.getElementById("links").addEventListener("click", () => showMenu(false));
  document.getElementById("pause").addEventListener("click", (event) => {
    view.paused = !view.paused;
    event.currentTarget.setAttribute("aria-pressed", String(view.paused));
    event.currentTarget.textContent = view.paused ? "Paused" : "Pause";
    if (view.paused) clearTimeout(timer);
    else ask();
  });
  document.getElementById("theme").addEventListener("click", toggleTheme);
  for (const kind of ["click", "input", "change", "submit", "pointermove", "pointerleave", "keydown"]) {
    main.addEventListener(kind, (event) => view.data && view.page.on?.[kind]?.(event, tools(), view.data), kind === "pointerleave");
  }
  addEventListener("hashchange", follow);
  addEventListener("resize", () => view.data && render());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else if (!view.paused) ask();
  });
  follow();
  nameTheme();
}

// -- theme -------------------------------------------------------------------------------------

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggleTheme() {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // It holds for this visit.
  }
  nameTheme();
}

function nameTheme() {
  document.getElementById("theme").textContent = dark() ? "Light" : "Dark";
}

begin();
