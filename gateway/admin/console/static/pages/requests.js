// The last requests, and one of them in full: why it ended as it did, and where its time went.

import { h } from "../dom.js";
import { clock, duration, when } from "../format.js";
import { badge, facts, field, prose, section, select, status, table, title as heading, tools } from "../parts.js";
import { waterfall } from "../waterfall.js";
import { label } from "./routes.js";

export const title = "Requests";

const OUTCOMES = [["", "all"], ["failed", "failed (5xx)"], ["refused", "refused (4xx)"], ["flagged", "with a flag"], ["good", "answered (2xx)"]];
const ASKED = { failed: "status=5xx", refused: "status=4xx", flagged: "flag=any", good: "status=2xx" };
const FIELDS = ["path", "route", "cluster", "endpoint", "min_ms"];

export async function load(get, params, signal) {
  const id = params.get("id");
  if (id) {
    const story = await get(`/requests/${encodeURIComponent(id)}`, signal);
    const frame = await get("/console/api/rejected", signal);
    return { frame, story, missing: story === null };
  }
  const query = new URLSearchParams({ limit: "50" });
  for (const name of FIELDS) if (params.get(name)) query.set(name, params.get(name));
  const asked = ASKED[params.get("outcome")];
  const [frame, answer] = await Promise.all([
    get("/console/api/rejected", signal),
    get(`/requests?${query}${asked ? `&${asked}` : ""}`, signal),
  ]);
  return { frame, requests: answer?.requests ?? [], kept: answer?.kept, off: answer === null };
}

export function render(data, view) {
  if (view.params.get("id")) return one(data, view);
  return [
    heading("Requests", tools(data.frame?.links)),
    filters(view),
    data.off ? h("p", { class: "notice" }, "Requests are not remembered by this process.") : null,
    requestsTable(data.requests, "Last requests", { empty: "No such request is remembered." }),
  ];
}

function filters(view) {
  const value = (name) => view.params.get(name) ?? "";
  return h(
    "form",
    { class: "filters", role: "search" },
    field("Outcome", select("outcome", value("outcome"), OUTCOMES)),
    field("Path begins with", h("input", { type: "search", name: "path", value: value("path"), placeholder: "/" })),
    field("Route", h("input", { type: "search", name: "route", value: value("route") })),
    field("Cluster", h("input", { type: "search", name: "cluster", value: value("cluster") })),
    field("Endpoint", h("input", { type: "search", name: "endpoint", value: value("endpoint") })),
    field("At least ms", h("input", { type: "text", inputmode: "numeric", pattern: "[0-9]*", name: "min_ms", value: value("min_ms") })),
    field("Request id", h("input", { type: "search", name: "find", value: "", placeholder: "id, then Enter" })),
  );
}

/** Requests, one a row; used by other pages too. */
export function requestsTable(rows, caption, { empty } = {}) {
  return table(caption, [
    { name: "Time", className: "half", cell: (row) => h("a", { href: `#/requests?id=${encodeURIComponent(row.id)}`, title: when(row.at), "aria-label": `Request at ${clock(row.at)}: ${row.method} ${row.path}, ${row.status || "no answer"}` }, clock(row.at)) },
    { name: "Request", head: true, className: "grow", cell: (row) => [h("span", { class: "method" }, row.method), " ", h("span", { class: "path" }, row.path), h("span", { class: "sub" }, row.authority)] },
    { name: "Status", className: "half", cell: (row) => [status(row.status), row.flags.map((flag) => [" ", badge(flag, "warn")])] },
    { name: "Route", cell: (row) => row.route || h("span", { class: "muted" }, "none") },
    { name: "Endpoint", cell: (row) => (row.endpoint ? [label(row.cluster), h("span", { class: "sub" }, h("code", null, row.endpoint))] : h("span", { class: "muted" }, "none")) },
    { name: "Tries", num: true, cell: (row) => row.tries },
    { name: "Took", num: true, cell: (row) => duration(row.duration_ms) },
  ], rows, { key: (row) => `${row.id} ${row.at}`, empty });
}

function one(data, view) {
  const back = h("p", null, h("a", { href: "#/requests" }, "All requests"));
  if (data.missing) return [heading("Request"), back, h("p", { class: "notice" }, "No request with this id is remembered: it is too long ago, or it came to another process.")];
  const story = data.story;
  return [
    heading("Request", story.trace ? tools(data.frame?.links, story.trace) : null),
    back,
    h("p", { class: "ask" }, h("span", { class: "method" }, story.method), " ", h("span", { class: "path" }, story.authority, story.path), " ", status(story.status), story.flags.map((flag) => [" ", badge(flag, "warn")])),
    h("div", { class: `card why ${story.status >= 500 || !story.status ? "bad" : story.status >= 400 ? "warn" : "good"}` },
      h("p", { class: "cause" }, prose(sentence(story.cause))),
      story.remedy ? h("p", null, prose(sentence(story.remedy))) : null,
      (story.notes ?? []).map((note) => h("p", { class: "sub" }, prose(note))),
      story.changed ? h("p", { class: "sub" }, story.changed) : null),
    section("Where the time went", null, waterfall(story, Math.max(view.width - 34, 240))),
    h("div", { class: "columns" },
      section("Facts", null, facts([
        ["Request id", h("code", null, story.id)],
        ["Began", when(story.at)],
        ["Took", duration(story.duration_ms)],
        ["Culprit", story.culprit && prose(story.culprit)],
        ["Details", h("code", null, story.details)],
        ["Route", story.route || "none"],
        ["Written in", story.source && h("code", null, story.source)],
        ["Cluster", story.cluster && h("a", { href: `#/clusters?q=${encodeURIComponent(story.cluster)}` }, label(story.cluster))],
        ["Endpoint", story.endpoint && h("code", null, story.endpoint)],
        ["Client", story.client],
        ["Identity", story.identity || story.request_principal],
        ["Protocol", story.protocol],
        ["Received", `${story.bytes_received} bytes`],
        ["Sent", `${story.bytes_sent} bytes`],
        ["Generation", story.generation],
        ["Worker", story.worker && `${story.worker.number}, pid ${story.worker.pid}`],
        ["Trace", story.trace && h("a", { href: `#/traces?id=${encodeURIComponent(story.trace)}` }, story.trace)],
      ])),
      section("How the route was chosen", null, decision(story.decision, !story.source && !story.flags.includes("NR")))),
    section("Request headers", null, headers(story.request_headers)),
  ];
}

function decision(choice, early) {
  if (!choice) return h("p", { class: "empty" }, "It was refused before a route was looked for.");
  const tried = choice.tried ?? [];
  return [
    early && choice.route ? h("p", { class: "sub" }, "It was turned away before; this is what would have become of it.") : null,
    h("p", null, choice.virtual_host ? `Host ${choice.virtual_host.host}: ${choice.virtual_host.because}.` : ""),
    h("ol", { class: "tried" }, tried.map((item) =>
      h("li", { value: item.number }, badge(item.outcome, item.outcome === "taken" ? "good" : "idle"), " ", h("strong", null, item.name || item.source), h("span", { class: "sub" }, item.because)))),
  ];
}

function sentence(text) {
  const whole = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function headers(list) {
  const pairs = Array.isArray(list) ? list : Object.entries(list ?? {});
  return table("Request headers", [
    { name: "Name", head: true, cell: ([name]) => h("code", null, name) },
    { name: "Value", className: "grow", cell: ([, value]) => h("code", null, value) },
  ], pairs, { empty: "None." });
}

export const on = {
  input(event, view) {
    const { name, value } = event.target;
    if (FIELDS.includes(name) && (name !== "min_ms" || /^[0-9]*$/.test(value))) view.choose({ [name]: value });
  },
  change(event, view) {
    if (event.target.name === "outcome") view.choose({ outcome: event.target.value });
  },
  keydown(event) {
    if (event.key === "Enter" && event.target.name === "find" && event.target.value.trim()) {
      location.hash = `#/requests?id=${encodeURIComponent(event.target.value.trim())}`;
    }
  },
  submit(event) {
    event.preventDefault();
  },
};
