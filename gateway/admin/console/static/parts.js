// Parts that pages are made of.

import { h, s } from "./dom.js";
import { health, percent } from "./format.js";

/** The heading of a page, with what stands beside it. */
export function title(text, ...beside) {
  return h("div", { class: "title" }, h("h1", { id: "title", tabindex: "-1" }, text), ...beside);
}

const TOOLS = { grafana: "Grafana", prometheus: "Prometheus", jaeger: "Jaeger" };

/** Links to the tools beside the gateway that are configured; with a trace, to that trace in Jaeger. */
export function tools(links, trace = null) {
  const link = (href, text) => h("a", { class: "button", href, rel: "noreferrer", title: `${text}, at ${href}` }, text);
  if (trace) return links?.jaeger ? link(`${links.jaeger.replace(/\/+$/, "")}/trace/${encodeURIComponent(trace)}`, "Open in Jaeger") : null;
  const known = Object.entries(TOOLS).filter(([name]) => links?.[name]);
  return known.length ? h("div", { class: "tools", role: "group", "aria-label": "Other tools" }, known.map(([name, text]) => link(links[name], text))) : null;
}

/** A section with a heading. */
export function section(text, attributes, ...children) {
  const id = `s-${text.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { ...attributes, "aria-labelledby": id }, h("h2", { id }, text), ...children);
}

/**
 * A table. Columns: {name, cell(row), num, wide, head}. On a narrow screen each row becomes a card, so roles
 * are spelled out: a changed `display` would take them away.
 */
export function table(caption, columns, rows, { key = null, empty = "None.", kind = "" } = {}) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const heads = columns.map((column) =>
    h("th", { scope: "col", role: "columnheader", class: column.num && "num" }, column.name),
  );
  return h(
    "table",
    { class: `cards ${kind}`.trim(), role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h(
      "tbody",
      { role: "rowgroup" },
      rows.map((row, index) =>
        h(
          "tr",
          { role: "row", "data-key": key ? key(row, index) : null },
          columns.map((column) => {
            const first = column.head;
            return h(
              first ? "th" : "td",
              {
                role: first ? "rowheader" : "cell",
                scope: first && "row",
                class: [column.num && "num", column.className].filter(Boolean).join(" ") || null,
                "data-label": column.name,
              },
              h("span", { class: "value" }, column.cell(row, index)),
            );
          }),
        ),
      ),
    ),
  );
}

/** A sentence in which `words between backticks` are what one types. */
export function prose(text) {
  return String(text ?? "").split("`").map((part, index) => (index % 2 ? h("code", null, part) : part));
}

/** A word with a color; the word alone says it too. */
export function badge(text, kind = "idle") {
  return h("span", { class: `badge ${kind}` }, text);
}

/** Share of requests that did not fail. */
export function success(value) {
  return h("span", { class: `share ${health(value)}` }, percent(value));
}

/** A status code in the color of its class. */
export function status(code) {
  const kind = !code ? "idle" : code >= 500 ? "bad" : code >= 400 ? "warn" : "good";
  return h("span", { class: `code ${kind}` }, code || "none");
}

/** Names with values. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs
      .filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "")
      .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}

/** One number, large. */
export function tile(name, value, { note = null, kind = null, link = null } = {}) {
  const inside = [
    h("span", { class: "name" }, name),
    h("span", { class: `big ${kind ?? ""}` }, value),
    h("span", { class: "note" }, note ?? ""),
  ];
  return link ? h("a", { class: "tile", href: link }, inside) : h("div", { class: "tile" }, inside);
}

/** How full something is. Without a limit there is nothing to fill. */
export function gauge(name, used, limit) {
  const unlimited = limit === null || limit === undefined || limit >= 2 ** 31;
  const share = unlimited ? 0 : Math.min(used / Math.max(limit, 1), 1);
  const kind = share >= 0.9 ? "bad" : share >= 0.7 ? "warn" : "good";
  const text = unlimited ? `${used}, no limit` : `${used} of ${limit}`;
  return h(
    "div",
    { class: "gauge" },
    h("span", { class: "name" }, name),
    h("span", { class: "value" }, text),
    unlimited
      ? null
      : s(
          "svg",
          { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true", class: "bar" },
          s("rect", { width: 100, height: 6, class: "back" }),
          s("rect", { width: Math.max(share * 100, used ? 1 : 0), height: 6, class: `fill ${kind}` }),
        ),
  );
}

/** A lock with a word; empty without TLS. */
export function lock(mode) {
  if (!mode) return null;
  return h(
    "span",
    { class: "lock" },
    s(
      "svg",
      { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
      s("path", { d: "M3.5 5.5V4a2.5 2.5 0 0 1 5 0v1.5", fill: "none", stroke: "currentColor", "stroke-width": 1.4 }),
      s("rect", { x: 2, y: 5.3, width: 8, height: 5.7, rx: 1.2, fill: "currentColor" }),
    ),
    mode,
  );
}

/** A labelled field. */
export function field(label, control) {
  return h("label", { class: "field" }, h("span", null, label), control);
}

/** A drop-down; options are [value, text]. */
export function select(name, chosen, options) {
  return h(
    "select",
    { name },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

/** A finding of the configuration. */
export function finding(item) {
  const kind = { error: "bad", warning: "warn" }[item.severity] ?? "idle";
  return h(
    "li",
    null,
    badge(`${item.severity} ${item.code}`, kind),
    h("div", null,
      h("span", { class: "message" }, item.message),
      item.suggestion && h("span", { class: "sub" }, item.suggestion),
      h("code", { class: "sub" }, `${item.path}:${item.line}:${item.column}`)),
  );
}
