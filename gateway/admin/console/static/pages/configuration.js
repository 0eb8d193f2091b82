// What serves, what was tried before, and what changed between two generations.

import { h } from "../dom.js";
import { count, duration, when } from "../format.js";
import { badge, field, finding, section, select, table, title as heading } from "../parts.js";

export const title = "Configuration";
export const interval = 2000;

export async function load(get, params, signal, memory) {
  const data = await get("/console/api/generations", signal);
  const numbers = comparable(data);
  const next = Number(params.get("new")) || numbers[0];
  const old = Number(params.get("old")) || numbers.find((number) => number < next);
  const wanted = `${old} ${next}`;
  if (old && next && memory.compared !== wanted) {
    memory.diff = await get(`/console/api/diff?old=${old}&new=${next}`, signal);
    memory.compared = wanted;
  }
  if (memory.documentsOf !== data.serving) {
    memory.documents = (await get(`/console/api/documents?generation=${data.serving}`, signal))?.documents ?? [];
    memory.documentsOf = data.serving;
  }
  return { ...data, frame: data, old, next, diff: old && next ? memory.diff : null, documents: memory.documents };
}

function comparable(data) {
  return data.attempts.filter((attempt) => attempt.comparable).map((attempt) => attempt.generation);
}

export function render(data, view) {
  return [
    heading(
      "Configuration",
      h("div", { class: "actions" },
        h("button", { type: "button", "data-do": "reload" }, "Reload now"),
        h("button", { type: "button", "data-do": "drain", class: "danger", disabled: data.state === "draining" }, "Drain …")),
    ),
    view.memory.asked === "drain" ? confirmation() : null,
    view.memory.said ? h("p", { class: `notice ${view.memory.kind}` }, view.memory.said) : null,
    h("p", { class: "lead" }, `Generation ${data.serving} serves, from `, data.paths.map((path, index) => [index ? ", " : "", h("code", null, path)]), "."),
    section("Findings", null, findings(data)),
    section("Generations", null, history(data)),
    section("Changes", null, changes(data, view)),
    section("Documents", null, documents(data)),
  ];
}

function confirmation() {
  return h("div", { class: "notice warn", role: "group", "aria-label": "Confirm draining", "data-key": "confirm" },
    h("p", null, "From then on /ready answers 503, so load balancers stay away. Requests are still answered. Only a restart undoes it."),
    h("button", { type: "button", "data-do": "drain-now", class: "danger" }, "Drain"),
    " ",
    h("button", { type: "button", "data-do": "cancel" }, "Cancel"));
}

function findings(data) {
  const last = data.attempts[0];
  const parts = [];
  if (data.refused && last?.outcome === "refused") {
    parts.push(
      h("p", { class: "notice bad" }, `The last change (${last.reason}, ${when(last.at)}) was refused; generation ${data.serving} goes on serving.`),
      h("ul", { class: "findings card" }, last.findings.map(finding)));
  }
  if (data.findings.length) parts.push(h("ul", { class: "findings card" }, data.findings.map(finding)));
  else parts.push(h("p", { class: "empty" }, "Nothing to say about what serves."));
  return parts;
}

function history(data) {
  return table("Attempts to load, youngest first", [
    { name: "Outcome", head: true, cell: (item) => badge(item.outcome === "applied" ? `generation ${item.generation}` : "refused", item.outcome === "applied" ? (item.generation === data.serving ? "good" : "idle") : "bad") },
    { name: "When", cell: (item) => when(item.at) },
    { name: "Asked by", cell: (item) => item.reason },
    { name: "Took", num: true, cell: (item) => duration(item.seconds * 1000) },
    { name: "Findings", num: true, cell: (item) => item.findings.length + item.more_findings },
    { name: "Digest", cell: (item) => (item.digest ? h("code", null, item.digest) : "–") },
  ], data.attempts, { key: (item) => `${item.outcome} ${item.generation} ${item.at}` });
}

function changes(data, view) {
  const numbers = comparable(data);
  if (numbers.length < 2) return h("p", { class: "empty" }, "There is one generation so far: nothing to compare.");
  const options = numbers.map((number) => [String(number), `generation ${number}`]);
  return [
    h("form", { class: "filters" },
      field("From", select("old", String(data.old), options)),
      field("To", select("new", String(data.next), options))),
    data.diff ? comparison(data.diff, view) : h("p", { class: "empty" }, "Choose two generations."),
  ];
}

function comparison(diff) {
  if (!diff.changes.length) return h("p", { class: "empty" }, "The documents are equal; only comments or their order changed.");
  const kinds = { added: "good", removed: "bad", changed: "warn" };
  return [
    h("p", { class: "sub" }, `${diff.changes.length === 1 ? "1 document differs" : `${diff.changes.length} documents differ`}, ${diff.unchanged} the same. Secrets are hidden; equal ones look equal.`),
    diff.changes.map((item) =>
      h("details", { class: "card", open: true, "data-key": `${diff.old}-${diff.new}-${item.name}` },
        h("summary", null, badge(item.change, kinds[item.change]), " ", item.name),
        h("pre", { class: "diff", tabindex: "0", "aria-label": `Changed lines of ${item.name}` },
          item.lines.map(([sign, text]) => h("span", { class: { "+": "plus", "-": "minus", "@": "skip" }[sign] ?? "same" }, `${sign === "@" ? "" : sign}${text}\n`))))),
  ];
}

function documents(data) {
  if (!data.documents?.length) return h("p", { class: "empty" }, "The documents are not remembered.");
  return h("div", { class: "card accordion" }, data.documents.map((item) =>
    h("details", { "data-key": `d-${data.serving}-${item.name}` },
      h("summary", null, item.name),
      h("pre", { tabindex: "0", "aria-label": item.name }, item.text))));
}

async function reload(view) {
  say(view, "Reading the files …", "");
  const answer = await view.post("/reload");
  const body = answer.body;
  if (answer.ok) say(view, body.outcome === "applied" ? `Generation ${body.generation} serves.` : "The files hold what already serves.", "good");
  else if (body.outcome) say(view, `Refused: ${count(body.findings.length, "finding")}. Generation ${body.generation} goes on serving.`, "bad");
  else say(view, `The gateway answers ${answer.status}.`, "bad");
  view.reask();
}

async function drain(view) {
  view.memory.asked = null;
  const answer = await view.post("/drain");
  say(view, answer.ok ? "Draining: /ready answers 503 from now on." : `The gateway answers ${answer.status}.`, answer.ok ? "warn" : "bad");
  view.reask();
}

function say(view, text, kind) {
  Object.assign(view.memory, { said: text, kind });
  view.announce(text);
  view.refresh();
}

export const on = {
  click(event, view) {
    const wanted = event.target.closest("[data-do]")?.dataset.do;
    if (wanted === "reload") reload(view).catch(() => say(view, "The gateway does not answer.", "bad"));
    if (wanted === "drain-now") drain(view).catch(() => say(view, "The gateway does not answer.", "bad"));
    if (wanted === "drain" || wanted === "cancel") {
      view.memory.asked = wanted === "drain" ? "drain" : null;
      view.refresh();
      document.querySelector(wanted === "drain" ? '[data-do="cancel"]' : '[data-do="drain"]')?.focus();
    }
  },
  change(event, view) {
    if (event.target.name === "old" || event.target.name === "new") view.choose({ [event.target.name]: event.target.value });
  },
  submit(event) {
    event.preventDefault();
  },
};
