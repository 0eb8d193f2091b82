// Is it well, and if not, where to look.

import { chart, pointed } from "../chart.js";
import { h } from "../dom.js";
import { count, duration, number, percent, rate, short } from "../format.js";
import { badge, section, success, table, tile, title as heading, tools } from "../parts.js";
import { requestsTable } from "./requests.js";

export const title = "Overview";

export async function load(get, _params, signal) {
  const [data, failed] = await Promise.all([
    get("/console/api/overview", signal),
    get("/requests?status=5xx&limit=6", signal),
  ]);
  return { ...data, frame: data, failures: failed?.requests ?? [] };
}

export function render(data, view) {
  return [
    heading("Overview", tools(data.frame.links)),
    attention(data.attention),
    tiles(data),
    charts(data.history, view),
    h(
      "div",
      { class: "columns" },
      section("Busiest routes", null, routes(data.routes)),
      section("Busiest clusters", null, clusters(data.clusters)),
    ),
    section("Latest failures", null, requestsTable(data.failures, "Latest failed requests", { empty: "No request has failed." })),
  ];
}

function attention(items) {
  if (!items.length) return null;
  const kinds = { error: "bad", warning: "warn" };
  return section(
    "Needs attention",
    { class: "attention" },
    h(
      "ul",
      null,
      items.map((item) => h("li", null, badge(item.severity, kinds[item.severity]), h("a", { href: item.link }, item.text))),
    ),
  );
}

function tiles(data) {
  const now = data.rates;
  return h(
    "div",
    { class: "tiles" },
    tile("Requests/s", rate(now.rps), { note: "last 10 seconds" }),
    tile("Success", percent(now.success), {
      note: `${rate(now.failed)} failed/s`,
      kind: now.success === null ? null : now.success >= 99.9 ? "good" : now.success >= 95 ? "warn" : "bad",
      link: "#/requests?outcome=failed",
    }),
    tile("Median", duration(now.p50), { note: "p50" }),
    tile("Slowest 1 %", duration(now.p99), { note: "p99" }),
    tile("In flight", number(data.in_flight), {
      note: data.connections === null ? "" : count(data.connections, "client connection"),
    }),
    tile("Endpoints", number(data.endpoints - data.ejected), {
      note: data.ejected ? `${data.ejected} ejected` : "none ejected",
      kind: data.ejected ? "warn" : null,
      link: "#/clusters",
    }),
  );
}

function charts(history, view) {
  const wide = view.width >= 900;
  const width = Math.floor(wide ? (view.width - 40) / 3 - 34 : view.width - 34);
  const known = history.at.length ? history.at.at(-1) - history.at[0] : 0;
  const minutes = Math.min(Math.max(Math.ceil(known / 60), 2), 15);
  const shared = { at: history.at, width, cursor: view.memory.cursor ?? null, span: minutes * 60 };
  return section(
    `Last ${minutes} minutes`,
    { class: "charts" },
    h(
      "div",
      { class: "row" },
      chart({ ...shared, id: "rps", name: "Requests/s", format: rate, lines: [
        { name: "all", kind: "all", values: history.rps },
        { name: "failed", kind: "failed", values: history.failed },
      ] }),
      chart({ ...shared, id: "success", name: "Success", format: percent, floor: floorOf(history.success), top: 100, lines: [
        { name: "success", kind: "good", values: history.success },
      ] }),
      chart({ ...shared, id: "latency", name: "Duration", format: duration, lines: [
        { name: "p50", kind: "median", values: history.p50 },
        { name: "p99", kind: "slow", values: history.p99 },
      ] }),
    ),
  );
}

/** A scale that shows a dip of a few tenths, and a deep one as well. */
function floorOf(values) {
  const least = Math.min(100, ...values.filter((value) => value !== null));
  return [99, 95, 90, 50].find((floor) => floor <= least) ?? 0;
}

function routes(rows) {
  return table("Busiest routes", [
    { name: "Route", head: true, cell: (row) => row.source ? h("a", { href: `#/routes?q=${encodeURIComponent(row.source)}` }, row.name) : h("span", { class: "muted" }, "no route") },
    ...rateColumns(),
  ], rows, { key: (row) => `r-${row.source}`, empty: "No traffic in the last seconds." });
}

function clusters(rows) {
  return table("Busiest clusters", [
    { name: "Cluster", head: true, cell: (row) => h("a", { href: `#/clusters?q=${encodeURIComponent(row.name)}` }, short(row.host), row.subset && ` ${row.subset}`) },
    ...rateColumns(),
  ], rows, { key: (row) => `c-${row.name}`, empty: "No traffic in the last seconds." });
}

export function rateColumns() {
  return [
    { name: "Requests/s", num: true, cell: (row) => rate(row.rps) },
    { name: "Success", num: true, cell: (row) => success(row.success) },
    { name: "p50", num: true, cell: (row) => duration(row.p50) },
    { name: "p99", num: true, cell: (row) => duration(row.p99) },
  ];
}

export const on = {
  pointermove(event, view, data) {
    const drawing = event.target.closest?.("svg[data-chart]");
    const cursor = drawing && data.history.at.length ? pointed(drawing, event, data.history.at) : null;
    if (cursor === (view.memory.cursor ?? null)) return;
    view.memory.cursor = cursor;
    view.refresh();
  },
};
