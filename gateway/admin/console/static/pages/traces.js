// Requests that were sampled: their spans here, and the whole trace in Jaeger when one is configured.

import { h } from "../dom.js";
import { clock, duration, when } from "../format.js";
import { facts, section, status, table, title as heading, tools } from "../parts.js";
import { phases, waterfall } from "../waterfall.js";

export const title = "Traces";

export async function load(get, params, signal) {
  const frame = await get("/console/api/traces", signal);
  const id = params.get("id");
  const found = id ? frame.traces.find((item) => item.trace_id === id) : null;
  const story = found ? await get(`/requests/${encodeURIComponent(found.id)}`, signal) : null;
  return { frame, traces: frame.traces, found, story, id };
}

export function render(data, view) {
  if (data.id) return one(data, view);
  return [
    heading("Traces", tools(data.frame.links)),
    h("p", { class: "lead" }, "Requests that were sampled: a caller's traceparent or B3 header asked for it, or the Telemetry document's share did."),
    table("Sampled requests", [
      { name: "Time", cell: (row) => h("a", { href: `#/traces?id=${encodeURIComponent(row.trace_id)}`, title: when(row.at) }, clock(row.at)) },
      { name: "Request", head: true, className: "grow", cell: (row) => [h("span", { class: "method" }, row.method), " ", h("span", { class: "path" }, row.path), h("span", { class: "sub" }, row.authority)] },
      { name: "Status", cell: (row) => status(row.status) },
      { name: "Spans", num: true, cell: (row) => 1 + row.tries },
      { name: "Took", num: true, cell: (row) => duration(row.duration_ms) },
      { name: "Trace", cell: (row) => h("code", null, row.trace_id) },
    ], data.traces, { key: (row) => `${row.trace_id} ${row.id}`, empty: "No request among the last ones was sampled. Send one with a traceparent header that ends in -01, or set randomSamplingPercentage in a Telemetry document." }),
  ];
}

function one(data, view) {
  const back = h("p", null, h("a", { href: "#/traces" }, "All traces"));
  if (!data.found || !data.story) return [heading("Trace"), back, h("p", { class: "notice" }, "This trace is not remembered any more.")];
  const { found, story } = data;
  const spans = [
    { name: `${story.method} ${story.route || "ingress"}`, kind: "server", took: story.duration_ms, told: `status ${story.status}` },
    ...(story.attempts ?? []).map((attempt, index) => ({
      name: `attempt ${index + 1} to ${attempt.endpoint}`,
      kind: "client",
      took: (attempt.end_ms ?? 0) - (attempt.start_ms ?? 0),
      told: [attempt.status ? `status ${attempt.status}` : "no answer", attempt.flag !== "-" && attempt.flag, ...phases(attempt).map(([, name, from, to]) => `${name} ${duration(to - from)}`)].filter(Boolean).join(", "),
    })),
  ];
  return [
    heading("Trace", tools(data.frame.links, found.trace_id)),
    back,
    facts([
      ["Trace id", h("code", null, found.trace_id)],
      ["Request", h("a", { href: `#/requests?id=${encodeURIComponent(story.id)}` }, story.id)],
    ]),
    section("Timeline", null, waterfall(story, Math.max(view.width - 34, 240))),
    section("Spans", null, table("Spans", [
      { name: "Span", head: true, className: "grow", cell: (row) => row.name },
      { name: "Kind", cell: (row) => row.kind },
      { name: "Took", num: true, cell: (row) => duration(row.took) },
      { name: "Attributes", className: "grow", cell: (row) => row.told },
    ], spans)),
  ];
}
