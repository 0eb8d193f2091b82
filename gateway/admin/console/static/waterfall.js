// The attempts of a request over time: connecting, waiting for the first byte, receiving.

import { h, s } from "./dom.js";
import { duration } from "./format.js";
import { table } from "./parts.js";

const ROW = 30;
const LABEL = 150;

/** Phases of an attempt as [kind, name, from, to] in milliseconds since the request began. */
export function phases(attempt) {
  const { start_ms: start, connected_ms: connected, headers_ms: headers, end_ms: end } = attempt;
  const parts = [];
  const known = connected !== null && connected !== undefined;
  if (!attempt.reused && (known || headers === null)) parts.push(["connect", "connecting", start, connected ?? end]);
  const sent = attempt.reused || (!known && headers !== null) ? start : connected;
  if (sent !== null && sent !== undefined) parts.push(["wait", "waiting", sent, headers ?? end]);
  if (headers !== null && headers !== undefined) parts.push(["receive", "receiving", headers, end]);
  return parts.filter(([, , from, to]) => from !== null && to !== null && to >= from);
}

/** The drawing, its legend, and the same as a table. */
export function waterfall(story, width) {
  const attempts = story.attempts ?? [];
  if (!attempts.length) return h("p", { class: "empty" }, "No endpoint was asked: the gateway answered by itself.");
  const total = Math.max(story.duration_ms, ...attempts.map((attempt) => attempt.end_ms ?? 0), 0.001);
  const narrow = width < 560;
  const left = narrow ? 0 : LABEL;
  const row = narrow ? ROW + 18 : ROW;
  const x = (moment) => left + (moment / total) * (width - left - 4);
  const height = (attempts.length + 1) * row + 20;
  const bar = (kind, from, to, y) =>
    s("rect", { class: kind, x: x(from), y, width: Math.max(x(to) - x(from), 1.5), height: 12, rx: 2 });
  const place = (text, index) => s("text", { class: "label", x: 0, y: index * row + (narrow ? 12 : 19) }, text);
  const y = (index) => index * row + (narrow ? 18 : 8);
  return h(
    "figure",
    { class: "waterfall" },
    h("figcaption", null, ["connect", "wait", "receive"].map((kind) => h("span", { class: `key ${kind}` }, h("span", { class: "swatch" }), { connect: "connecting", wait: "waiting for the first byte", receive: "receiving" }[kind]))),
    s(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${attempts.length} attempts in ${duration(total)}` },
      place(`request, ${duration(story.duration_ms)}`, 0),
      bar("whole", 0, story.duration_ms, y(0)),
      attempts.map((attempt, index) => [
        place(`${index + 1}. ${attempt.endpoint}`, index + 1),
        phases(attempt).map(([kind, , from, to]) => bar(kind, from, to, y(index + 1))),
      ]),
      [0, 0.5, 1].map((part) =>
        s("text", { class: "tick", x: x(total * part), y: height - 4, "text-anchor": ["start", "middle", "end"][part * 2] }, duration(total * part)),
      ),
    ),
    table("Attempts", [
      { name: "Attempt", head: true, cell: (attempt, index) => [`${index + 1}. `, h("code", null, attempt.endpoint)] },
      { name: "Phases", cell: (attempt) => [attempt.reused ? "idle connection" : null, ...phases(attempt).map(([, name, from, to]) => `${name} ${duration(to - from)}`)].filter(Boolean).join(", ") },
      { name: "End", className: "grow", cell: (attempt) => [attempt.status || "no answer", attempt.flag && attempt.flag !== "-" ? ` ${attempt.flag}` : "", attempt.details && attempt.details !== "via_upstream" ? h("span", { class: "sub" }, attempt.details) : null] },
    ], attempts, { kind: "attempts" }),
  );
}
