// What flows where: gateway, routes, subsets, endpoints. Drawn when there is room, as a list when there is not.

import { h, s } from "../dom.js";
import { count, percent, rate, short } from "../format.js";
import { badge, lock, success, title as heading } from "../parts.js";
import { label } from "./routes.js";

export const title = "Graph";

const NODE = { height: 46, gap: 14 };
const GUTTER = 96;
const LETTER = 6.7;

export async function load(get, _params, signal) {
  return get("/console/api/graph", signal);
}

export function render(data, view) {
  const busy = view.params.get("all") ? data : onlyBusy(data);
  const shown = busy.routes.length ? busy : data;
  return [
    heading("Service graph", h("label", { class: "check" }, h("input", { type: "checkbox", name: "all", checked: shown === data }), "Show what is idle")),
    h("p", { class: "lead" }, "The last ten seconds, in requests a second. A lock marks TLS, the number on a line its share by weight; dashed lines are copies for mirrors."),
    data.hidden_routes ? h("p", { class: "notice" }, `The ${data.routes.length} busiest routes; ${data.hidden_routes} more are not drawn.`) : null,
    view.narrow || view.width < 760 ? list(shown) : h("div", { class: "card graph" }, drawing(shown, view.width - 34)),
    view.narrow || view.width < 760 ? null : h("details", null, h("summary", null, "As a list"), list(shown)),
    legend(),
  ];
}

/** Without routes, subsets and endpoints that nobody used; a subset that could be used stays with its route. */
function onlyBusy(data) {
  const routes = data.routes.filter((route) => route.rps > 0);
  const kept = new Set([...routes.map((route) => route.id), ...data.listeners.map((item) => item.id)]);
  const reached = new Set(data.edges.filter((edge) => kept.has(edge.from)).map((edge) => edge.to));
  const clusters = data.clusters.filter((cluster) => reached.has(cluster.id));
  for (const cluster of clusters) {
    kept.add(cluster.id);
    cluster.endpoints.forEach((endpoint) => kept.add(endpoint.id));
  }
  return { ...data, routes, clusters, edges: data.edges.filter((edge) => kept.has(edge.from) && kept.has(edge.to)) };
}

// -- drawing -----------------------------------------------------------------------------------

function drawing(data, width) {
  const columns = arranged(data);
  const wide = Math.min((width - GUTTER * 3) / 4, 260);
  const step = (width - wide - 2) / 3;
  const rows = Math.max(...columns.map((nodes) => nodes.length), 1);
  const height = rows * (NODE.height + NODE.gap) + NODE.gap;
  const places = new Map();
  columns.forEach((nodes, column) => {
    const room = height / Math.max(nodes.length, 1);
    nodes.forEach((node, index) => {
      places.set(node.id, { x: 1 + column * step, y: room * (index + 0.5) - NODE.height / 2, node });
    });
  });
  const most = Math.max(...data.edges.map((edge) => (edge.rps ?? 0) + (edge.copies?.rps ?? 0)), 0.001);
  const edges = data.edges.filter((edge) => places.has(edge.from) && places.has(edge.to));
  return s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Service graph; the same follows as a list" },
    s("g", { class: "edges", "aria-hidden": "true" }, edges.map((edge) => line(edge, places, wide, most))),
    s("g", { class: "labels", "aria-hidden": "true" }, edges.map((edge) => edgeLabel(edge, places, wide))),
    s("g", null, [...places.values()].map((place) => box(place, wide))),
  );
}

/** Four columns; each is ordered by where its lines come from, so that few of them cross. */
function arranged(data) {
  const order = new Map();
  const number = (nodes) => nodes.forEach((node, index) => order.set(node.id, index / nodes.length));
  const sources = (id) => data.edges.filter((edge) => edge.to === id && order.has(edge.from)).map((edge) => order.get(edge.from));
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 1);
  const listeners = data.listeners.map((item) => ({ ...item, kind: "listener", href: "#/routes" }));
  number(listeners);
  const routes = data.routes.map((item) => ({ ...item, kind: "route", href: `#/routes?q=${encodeURIComponent(item.source)}` }));
  number(routes);
  const clusters = data.clusters.map((item) => ({ ...item, kind: "cluster", href: `#/clusters?q=${encodeURIComponent(item.name)}` }));
  clusters.sort((one, other) => mean(sources(one.id)) - mean(sources(other.id)));
  number(clusters);
  const endpoints = clusters.flatMap((cluster) => cluster.endpoints.map((item) => ({ ...item, kind: "endpoint", href: `#/clusters?q=${encodeURIComponent(cluster.name)}` })));
  return [listeners, routes, clusters, endpoints];
}

function tint(item) {
  if (item.ejected || item.known === false) return "warn";
  const told = item.rps || !item.copies ? item : item.copies;
  if (!told.rps) return "idle";
  const lost = told.success ?? 100;
  return lost >= 99.9 ? "good" : lost >= 95 ? "warn" : "bad";
}

/** Requests a second, and copies of requests where there are any. */
function flowOf(item) {
  const lost = (told) => (told.success !== null && told.success < 100 ? `, ${percent(told.success)}` : "");
  const copies = item.copies?.rps ? `${rate(item.copies.rps)}/s copied${lost(item.copies)}` : "";
  const own = item.rps || !copies ? `${rate(item.rps)}/s${lost(item)}` : "";
  return [own, copies].filter(Boolean).join(" + ");
}

function line(edge, places, wide, most) {
  const from = places.get(edge.from);
  const to = places.get(edge.to);
  const x1 = from.x + wide;
  const y1 = from.y + NODE.height / 2;
  const x2 = to.x;
  const y2 = to.y + NODE.height / 2;
  const bend = (x2 - x1) / 2;
  const d = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  const flow = (edge.rps ?? 0) + (edge.copies?.rps ?? 0);
  const kind = `${tint(edge)}${edge.mirror ? " mirror" : ""}`;
  return s("path", {
    d,
    class: `edge ${kind}${flow ? " flows" : ""}`,
    "stroke-width": flow ? (1.5 + 4 * Math.sqrt(flow / most)).toFixed(1) : 1.2,
    "data-key": `${edge.from}>${edge.to}`,
  });
}

function edgeLabel(edge, places, wide) {
  const from = places.get(edge.from);
  const to = places.get(edge.to);
  const text = edge.mirror ? `copy ${edge.mirror} %` : edge.percent !== undefined && edge.percent !== null && edge.percent < 100 ? `${edge.percent} %` : "";
  if (!text) return null;
  const x = (from.x + wide + to.x) / 2;
  const y = (from.y + to.y + NODE.height) / 2;
  const length = text.length * LETTER + 8;
  return s("g", { "data-key": `label ${edge.from}>${edge.to}` },
    s("rect", { class: "plate", x: x - length / 2, y: y - 9, width: length, height: 17, rx: 8 }),
    s("text", { class: "share", x, y: y + 4, "text-anchor": "middle" }, text));
}

function box({ x, y, node }, wide) {
  const [name, note] = words(node);
  const room = Math.floor((wide - 26 - (node.tls ? 18 : 0)) / LETTER);
  return s(
    "a",
    { href: node.href, class: `node ${node.kind} ${node.kind === "listener" ? "" : tint(node)}`, "aria-label": spoken(node), "data-key": node.id },
    s("title", null, spoken(node)),
    s("rect", { class: "face", x, y, width: wide, height: NODE.height, rx: 8 }),
    s("rect", { class: "edge-mark", x, y: y + 8, width: 4, height: NODE.height - 16, rx: 2 }),
    s("text", { class: "name", x: x + 13, y: y + 19 }, cut(name, room)),
    s("text", { class: "note", x: x + 13, y: y + 36 }, cut(note, Math.floor((wide - 20) / (LETTER * 0.92)))),
    node.tls ? padlock(x + wide - 24, y + 8) : null,
  );
}

function padlock(x, y) {
  return s("g", { class: "padlock", transform: `translate(${x} ${y})` },
    s("path", { d: "M4 6V4.4a3 3 0 0 1 6 0V6", fill: "none", "stroke-width": 1.5 }),
    s("rect", { x: 2.4, y: 6, width: 9.2, height: 7, rx: 1.4 }));
}

function cut(text, room) {
  return text.length > room ? `${text.slice(0, Math.max(room - 1, 1))}…` : text;
}

function words(node) {
  if (node.kind === "listener") return [node.name === "mesh" ? "gateway" : node.name, node.tls || "plain HTTP"];
  const flow = flowOf(node);
  if (node.kind === "route") return [node.name || node.source, `${flow}  ${node.hosts[0] ?? ""}`];
  if (node.kind === "cluster") return [`${short(node.host)} ${node.subset}`.trim(), node.known ? `${flow}${node.tls ? `  ${node.tls}` : ""}` : "unknown: 503"];
  return [node.address, node.ejected ? "ejected" : flow];
}

function spoken(node) {
  const [name, note] = words(node);
  return `${{ listener: "Listener", route: "Route", cluster: "Cluster", endpoint: "Endpoint" }[node.kind]} ${name}: ${note.replace(/ {2,}/g, ", ")}`;
}

// -- list --------------------------------------------------------------------------------------

function list(data) {
  const clusters = new Map(data.clusters.map((cluster) => [cluster.id, cluster]));
  return h("ul", { class: "tree" }, data.listeners.map((listener) =>
    h("li", null,
      h("div", { class: "leaf" }, h("strong", null, listener.name === "mesh" ? "gateway" : listener.name), lock(listener.tls)),
      h("ul", null, taken(listener, data).map(([route, edge]) => routeItem(route, edge, data, clusters))))));
}

/** Routes of a listener with what it sends there. One that several listeners share is told where it has requests. */
function taken(listener, data) {
  const pairs = data.routes.map((route) => [route, data.edges.find((edge) => edge.from === listener.id && edge.to === route.id)]);
  return pairs.filter(([route, edge]) => edge && (edge.rps > 0 || !route.rps));
}

function routeItem(route, edgeIn, data, clusters) {
  const edges = data.edges.filter((edge) => edge.from === route.id && clusters.has(edge.to));
  return h("li", { "data-key": route.id },
    h("div", { class: "leaf" }, h("a", { href: `#/routes?q=${encodeURIComponent(route.source)}` }, route.name || route.source), flow(edgeIn), route.answers ? badge("answers itself") : null),
    edges.length ? h("ul", null, edges.map((edge) => clusterItem(edge, clusters.get(edge.to)))) : null);
}

function clusterItem(edge, cluster) {
  const share = edge.mirror ? `copy ${edge.mirror} %` : edge.percent < 100 ? `${edge.percent} %` : "";
  return h("li", null,
    h("div", { class: "leaf" }, h("a", { href: `#/clusters?q=${encodeURIComponent(cluster.name)}` }, label(cluster.name)), share && badge(share), lock(cluster.tls), cluster.known ? flow(edge) : badge("unknown: 503", "bad")),
    h("ul", null, cluster.endpoints.map((endpoint) =>
      h("li", null, h("div", { class: "leaf" }, h("code", null, endpoint.address), endpoint.ejected ? badge("ejected", "warn") : null, flow(endpoint)))),
      cluster.hidden_endpoints ? h("li", { class: "muted" }, count(cluster.hidden_endpoints, "further endpoint")) : null));
}

function flow(item) {
  const told = (flow, word) => [`${rate(flow.rps)}/s${word} `, flow.success === null || flow.success === undefined ? null : success(flow.success)];
  const copies = item.copies?.rps ? told(item.copies, " copied") : null;
  return h("span", { class: "flow" }, item.rps || !copies ? told(item, "") : null, item.rps && copies ? " + " : null, copies);
}

function legend() {
  return h("p", { class: "sub legend" }, "Success: ", badge("99.9 % and more", "good"), " ", badge("95 % and more, or out", "warn"), " ", badge("less", "bad"), " ", badge("idle", "idle"));
}

export const on = {
  change(event, view) {
    if (event.target.name === "all") view.choose({ all: event.target.checked ? "1" : "" });
  },
};
