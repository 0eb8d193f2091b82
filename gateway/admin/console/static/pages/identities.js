// Certificates with the time they have left, who may call, and who was seen.

import { h } from "../dom.js";
import { span, when } from "../format.js";
import { badge, section, table, title as heading } from "../parts.js";

export const title = "Identities";
export const interval = 10000;

const DAY = 86400;

export async function load(get, _params, signal) {
  return get("/console/api/identities", signal);
}

export function render(data) {
  return [
    heading("Identities and certificates"),
    section("Certificates", null, table("Certificates", [
      { name: "Certificate", head: true, className: "grow", cell: (item) => [h("strong", null, item.subject), h("span", { class: "sub" }, h("code", null, item.credential))] },
      { name: "Names", className: "grow", cell: (item) => !item.names.length ? h("span", { class: "muted" }, "none") : h("ul", { class: "plain" }, item.names.map((name) => h("li", null, h("code", null, name)))) },
      { name: "Which is", cell: (item) => item.role },
      { name: "Ends", cell: (item) => ends(item, data.now) },
    ], data.certificates, { key: (item) => `${item.credential} ${item.role} ${item.subject} ${item.serial}`, empty: "The configuration names no certificate: clients and endpoints are spoken to in plain text." })),
    section("Policies", null, table("Policies about who may call", [
      { name: "Policy", head: true, cell: (item) => [h("strong", null, item.name), h("span", { class: "sub" }, item.kind)] },
      { name: "Says", cell: (item) => h("code", null, item.says) },
      { name: "For", cell: (item) => item.applies },
    ], data.policies, { key: (item) => `${item.kind} ${item.name}`, empty: "No policy restricts who may call." })),
    section("Callers", null, table("Callers seen lately", [
      { name: "Principal", head: true, className: "grow", cell: (item) => h("code", null, item.principal) },
      { name: "By", cell: (item) => item.kind },
      { name: "Requests", num: true, cell: (item) => item.requests },
      { name: "Turned away", num: true, cell: (item) => item.refused },
    ], data.callers ?? [], { key: (item) => `${item.kind} ${item.principal}`, empty: "No caller with a verified certificate or token among the last requests." })),
  ];
}

function ends(item, now) {
  if (item.not_after === null) return "never";
  const left = item.not_after - now;
  const whole = item.not_after - item.not_before; // short lives are meant to be short
  const kind = left < Math.min(7 * DAY, whole / 5) ? "bad" : left < Math.min(30 * DAY, whole / 3) ? "warn" : "good";
  return [badge(left > 0 ? `in ${span(left)}` : `${span(-left)} ago`, kind), h("span", { class: "sub" }, when(item.not_after).slice(0, 10))];
}
