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
    data.last.length ? section("Last ones", null, h("div", { class: "card accordion" }, data.last.map(shown))) : null,
  ];
}

function shown(item) {
  const bytes = decode(item.bytes);
  return h(
    "details",
    { "data-key": item.id },
    h("summary", null,
      h("time", { title: when(item.at) }, clock(item.at)), " ", status(item.status), " ", h("code", null, item.reason),
      h("code", { class: "peek" }, peek(bytes))),
    h("p", { class: "sub" }, `From ${item.client || "a unix socket"}, first ${bytes.length} bytes. Request id `, h("code", null, item.id)),
    h("pre", { class: "hex", tabindex: "0", "aria-label": "Bytes as received" }, dump(bytes)),
  );
}

function decode(text) {
  const bytes = [];
  for (let index = 0; index + 1 < text.length; index += 2) bytes.push(parseInt(text.slice(index, index + 2), 16));
  return bytes;
}

/** The first line, as far as it is text. */
function peek(bytes) {
  const end = bytes.findIndex((byte) => byte === 10 || byte === 13);
  return letters(bytes.slice(0, end < 0 ? bytes.length : end)).slice(0, 120);
}

function letters(bytes) {
  return bytes.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
}

/** Sixteen bytes a line: offset, hexadecimal, characters. */
function dump(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const row = bytes.slice(start, start + 16);
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    lines.push(`${start.toString(16).padStart(4, "0")}  ${digits}  ${letters(row)}`);
  }
  return lines.join("\n");
}
