// Every route as it is tried, listener by listener.

import { h } from "../dom.js";
import { count, duration, number, rate, short } from "../format.js";
import { badge, field, lock, success, table, title as heading } from "../parts.js";

export const title = "Routes";

export async function load(get, _params, signal) {
  return get("/console/api/routes", signal);
}

export function render(data, view) {
  const wanted = (view.params.get("q") ?? "").toLowerCase();
  return [
    heading("Routes"),
    h("p", { class: "lead" }, "A request goes to the virtual host that its Host header names, and there to the first route that takes it."),
    h("form", { class: "filters", role: "search" }, field("Filter", h("input", { type: "search", name: "q", value: view.params.get("q") ?? "", placeholder: "host, route, path or cluster" }))),
    data.complete ? null : h("p", { class: "notice" }, "There are more routes than one page holds; these are the first."),
    data.listeners.map((listener) => shown(listener, wanted)),
  ];
}

function shown(listener, wanted) {
  const hosts = listener.hosts
    .map((host) => ({ ...host, routes: host.routes.filter((route) => matches(host, route, wanted)) }))
    .filter((host) => host.routes.length || (!wanted && !host.routes.length));
  if (wanted && !hosts.length) return null;
  const name = listener.port ? `Listener ${listener.name}` : "Listener without Gateway document";
  return h(
    "section",
    { class: "listener", "data-key": listener.name },
    h("h2", null, name, " ", lock(listener.tls), listener.redirects && badge("sends http to https")),
    hosts.length ? hosts.map((host, index) => virtualHost(host, `${listener.name}-${index}`)) : h("p", { class: "empty" }, "No virtual host."),
  );
}

function matches(host, route, wanted) {
  if (!wanted) return true;
  const text = [...host.domains, route.name, route.source, route.virtual_service, ...route.match, ...(route.destinations ?? []).map((item) => item.cluster)];
  return text.some((part) => part.toLowerCase().includes(wanted));
}

function virtualHost(host, key) {
  const [first, ...others] = [...host.domains].sort((one, other) => one.length - other.length);
  const rest = others.length + host.more_domains;
  return h(
    "section",
    { class: "card", "data-key": key },
    h("h3", null, first, rest ? h("span", { class: "muted small", title: others.join(", ") }, ` and ${count(rest, "further name")}`) : null),
    table(`Routes of ${first}`, [
      { name: "Route", head: true, className: "grow", cell: (route) => [h("strong", null, route.name || "unnamed"), h("span", { class: "sub" }, route.source)] },
      { name: "Takes", className: "grow", cell: demands },
      { name: "Leads to", className: "grow", cell: leads },
      { name: "Requests/s", num: true, cell: (route) => rate(route.rps) },
      { name: "Success", num: true, cell: (route) => success(route.success) },
      { name: "p99", num: true, cell: (route) => duration(route.p99) },
    ], host.routes, { key: (route, index) => `${key}-${index}-${route.source}`, empty: "No routes: every request is answered 404." }),
  );
}

function demands(route) {
  if (!route.match.length) return h("span", { class: "muted" }, "every request");
  return h("ul", { class: "plain" }, route.match.map((text) => h("li", null, h("code", null, text))));
}

function leads(route) {
  const extras = [
    route.timeout && `timeout ${number(route.timeout)} s`,
    route.retries?.named && `${count(route.retries.retries, "retry", "retries")} on ${route.retries.retry_on.join(", ")}`,
    route.fault && "fault injection",
    route.rewrites_path && "rewrites the path",
    route.cors && "CORS",
    route.hashes && "consistent hashing",
    ...(route.mirrors ?? []).map((mirror) => `mirrors ${number(mirror.per_million / 10000)} % to ${label(mirror.cluster)}`),
  ].filter(Boolean);
  return [
    route.answers
      ? h("span", null, "an answer of the gateway")
      : h("ul", { class: "plain" }, (route.destinations ?? []).map((item) =>
          h("li", null,
            h("a", { href: `#/clusters?q=${encodeURIComponent(item.cluster)}` }, label(item.cluster)),
            route.destinations.length > 1 && h("span", { class: "muted" }, ` ${number(item.percent)} %`),
            !item.known && [" ", badge("unknown: 503", "bad")]),
        )),
    extras.length ? h("span", { class: "sub" }, extras.join(" · ")) : null,
  ];
}

/** reviews v1 out of outbound|9080|v1|reviews.default.svc.cluster.local. */
export function label(name) {
  const [, port, subset, host] = name.split("|", 4);
  if (!host) return name;
  return [`${short(host)}`, subset, port && !subset ? `:${port}` : ""].filter(Boolean).join(" ").replace(" :", ":");
}

export const on = {
  input(event, view) {
    if (event.target.name === "q") view.choose({ q: event.target.value });
  },
  submit(event) {
    event.preventDefault();
  },
};
