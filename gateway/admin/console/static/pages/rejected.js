// Requests that never became one: the rule that refused them, and the bytes.

import { h } from "../dom.js";
import { clock, when } from "../format.js";
import { status, table, title as heading, section } from "../parts.js";

export const title = "Rejected";

export async function load(get, _params, signal) {
  return get("/console/api/rejected", signal);
}

export function render(data) {
  const counts = Object.entries(data.counts);
  return [
    heading("Rejected bytes"),
    h("p", { class: "lead" }, "What the grammar, a limit or a deadline refused before there was a request to route. Credentials are blotted out."),
    data.available ? null : h("p", { class: "notice" }, "The server in front is not the gateway's own: what it refuses is not known here."),
    section("By rule", null, table("Refusals by rule", [
      { name: "Rule", head: true, cell: ([reason]) => h("code", null, reason) },
      { name: "Since start", num: true, cell: ([, number]) => number },
    ], counts, { key: ([reason]) => reason, empty: "Nothing was refused." })),
    data.last.length ? section("Last ones", null, h("div", { class: "stack" }, data.last.map(shown))) : null,
  ];
}

function shown(item) {
  const bytes = decode(item.bytes);
  return h(
    "details",
    { class: "card", "data-key": item.id },
    h("summary", null,
      h("time", { title: when(item.at) }, clock(item.at)), " ", status(item.status), " ", h("code", null, item.reason),
      h("span", { class: "muted" }, ` from ${item.client || "a unix socket"}`)),
    h("p", { class: "sub" }, "Request id ", h("code", null, item.id), ` · first ${bytes.length} bytes`),
    h("pre", { class: "hex", tabindex: "0", "aria-label": "Bytes as received" }, dump(bytes)),
  );
}

function decode(text) {
  const bytes = [];
  for (let index = 0; index + 1 < text.length; index += 2) bytes.push(parseInt(text.slice(index, index + 2), 16));
  return bytes;
}

/** Sixteen bytes a line: offset, hexadecimal, characters. */
function dump(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const row = bytes.slice(start, start + 16);
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const letters = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${start.toString(16).padStart(4, "0")}  ${digits}  ${letters}`);
  }
  return lines.join("\n");
}
