// Clusters: endpoints, ejections with their countdown, how full the limits are.

import { h } from "../dom.js";
import { duration, rate, short, span } from "../format.js";
import { badge, facts, field, gauge, lock, success, table, title as heading } from "../parts.js";

export const title = "Clusters";
export const interval = 1000;

/** Limits of the circuit breaker, as the gateway calls them and as people do. */
const LIMITS = { max_connections: "Connections", max_pending_requests: "Waiting requests", max_requests: "Requests", max_retries: "Retries", retries_over_time: "Retries over time" };

export async function load(get, _params, signal) {
  return get("/console/api/clusters", signal);
}

export function render(data, view) {
  const wanted = (view.params.get("q") ?? "").toLowerCase();
  const clusters = data.clusters.filter((cluster) => text(cluster).includes(wanted));
  return [
    heading("Clusters"),
    h("form", { class: "filters", role: "search" }, field("Filter", h("input", { type: "search", name: "q", value: view.params.get("q") ?? "", placeholder: "service, subset or address" }))),
    data.hidden ? h("p", { class: "notice" }, `The busiest ${data.clusters.length}; ${data.hidden} more are not shown.`) : null,
    clusters.length ? h("div", { class: "stack" }, clusters.sort(unwellFirst).map(card)) : h("p", { class: "empty" }, "No cluster."),
  ];
}

/** Who has endpoints out comes first, then who fails, then who has traffic; else the order of names. */
function unwellFirst(one, other) {
  const rank = (cluster) => (out(cluster) ? 0 : cluster.rps > 0 ? (cluster.success < 95 ? 1 : 2) : 3);
  return rank(one) - rank(other);
}

function out(cluster) {
  return cluster.endpoints.filter((endpoint) => endpoint.health !== "healthy").length;
}

function text(cluster) {
  return [cluster.name, ...cluster.endpoints.map((endpoint) => endpoint.address)].join(" ").toLowerCase();
}

function card(cluster) {
  const failing = out(cluster);
  return h(
    "section",
    { class: "card", "data-key": cluster.name },
    h("h2", null, short(cluster.host), cluster.subset ? ` ${cluster.subset}` : "", h("span", { class: "muted small" }, ` port ${cluster.port} `), lock(cluster.tls),
      failing ? badge(`${failing} of ${cluster.endpoints.length} out`, "warn") : null),
    facts([
      ["Requests/s", rate(cluster.rps)],
      ["Success", success(cluster.success)],
      ["p50", duration(cluster.p50)],
      ["p99", duration(cluster.p99)],
      cluster.copies?.rps ? ["Copies/s", [rate(cluster.copies.rps), " ", success(cluster.copies.success)]] : null,
      ["Balancing", words(cluster.policy)],
      ["Addresses", words(cluster.resolution)],
    ]),
    h("div", { class: "gauges", role: "group", "aria-label": "Limits" }, limits(cluster)),
    table(`Endpoints of ${cluster.name}`, [
      { name: "Endpoint", head: true, cell: (endpoint) => h("code", null, endpoint.address) },
      { name: "Health", cell: health },
      { name: "Weight", num: true, cell: (endpoint) => endpoint.weight },
      { name: "Requests/s", num: true, cell: (endpoint) => rate(endpoint.rps) },
      { name: "Success", num: true, cell: (endpoint) => success(endpoint.success) },
      { name: "Active", num: true, cell: (endpoint) => endpoint.active },
      { name: "Connections", num: true, cell: (endpoint) => `${endpoint.connections}${endpoint.idle ? `, ${endpoint.idle} idle` : ""}` },
      { name: "Since start", num: true, cell: (endpoint) => endpoint.requests },
    ], cluster.endpoints, { key: (endpoint) => endpoint.address, kind: "even", empty: "No endpoint: every request is answered 503." }),
    h("p", { class: "sub" }, h("code", null, cluster.name)),
  );
}

/**
 * Ejected endpoints say why and for how long still; the seconds left are the gateway's, asked for anew each second.
 * One that fails and is not ejected is no good sight in green.
 */
function health(endpoint) {
  if (endpoint.health === "healthy" && endpoint.rps > 0 && endpoint.success < 95) return [badge("failing", "bad"), h("span", { class: "sub" }, "gets requests still")];
  if (endpoint.health === "healthy") return badge("healthy", "good");
  const left = endpoint.ejected_for ?? endpoint.returns_in;
  return [
    badge(endpoint.health, "warn"),
    left ? h("span", { class: "countdown" }, ` back in ${span(Math.ceil(left))}`) : null,
    endpoint.ejected_because ? h("span", { class: "sub" }, endpoint.ejected_because) : null,
  ];
}

function limits(cluster) {
  return Object.entries(LIMITS).map(([key, name]) => {
    const limit = cluster.limits?.[key];
    if (limit) return gauge(name, limit.used, limit.limit);
    return { max_connections: gauge(name, cluster.connections, null), max_pending_requests: gauge(name, cluster.pending, null) }[key] ?? null;
  });
}

function words(name) {
  const text_ = String(name).replaceAll("_", " ").toLowerCase();
  return text_.charAt(0).toUpperCase() + text_.slice(1);
}

export const on = {
  input(event, view) {
    if (event.target.name === "q") view.choose({ q: event.target.value });
  },
  submit(event) {
    event.preventDefault();
  },
};
