// Numbers and moments as people read them.

const DASH = "–";

/** At most three digits that matter; thousands as k. */
export function number(value) {
  if (value === null || value === undefined) return DASH;
  if (value >= 1e6) return `${trim(value / 1e6)}M`;
  if (value >= 1e4) return `${trim(value / 1e3)}k`;
  return trim(value);
}

function trim(value) {
  if (value === 0) return "0";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** Requests a second. */
export function rate(value) {
  return value ? number(value) : "0";
}

/** Percent; 100 only when it is. */
export function percent(value) {
  if (value === null || value === undefined) return DASH;
  if (value === 100) return "100 %";
  if (value > 99.9) return `${Math.floor(value * 1000) / 1000} %`;
  return `${Number(value.toFixed(1))} %`;
}

/** Milliseconds, or seconds when there are many. */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return DASH;
  if (milliseconds < 0.01) return "0 ms";
  if (milliseconds < 10) return `${Number(milliseconds.toFixed(2))} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return span(milliseconds / 1000);
}

/** A span in seconds: 45 s, 3 min 20 s, 2 h 5 min, 12 days. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return join(minutes, "min", Math.floor(seconds % 60), "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return join(hours, "h", minutes % 60, "min");
  return `${Math.floor(hours / 24)} days`;
}

function join(big, unit, small, part) {
  return small ? `${big} ${unit} ${small} ${part}` : `${big} ${unit}`;
}

/** Time of day; `at` in seconds since the epoch, or a text that Date understands. */
export function clock(at, { seconds = true } = {}) {
  const moment = new Date(typeof at === "number" ? at * 1000 : at);
  if (Number.isNaN(moment.getTime())) return DASH;
  const two = (value) => String(value).padStart(2, "0");
  const text = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
  return seconds ? `${text}:${two(moment.getSeconds())}` : text;
}

/** Date and time. */
export function when(at) {
  const moment = new Date(typeof at === "number" ? at * 1000 : at);
  if (Number.isNaN(moment.getTime())) return DASH;
  const two = (value) => String(value).padStart(2, "0");
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ${clock(at)}`;
}

/** How many of something, in words. */
export function count(value, noun, plural = `${noun}s`) {
  return `${value} ${value === 1 ? noun : plural}`;
}

/** The last part of a long name that tells it apart: reviews out of reviews.default.svc.cluster.local. */
export function short(host) {
  const found = /^([^.]+)\.([^.]+)\.svc\./.exec(host ?? "");
  if (!found) return host ?? "";
  return found[2] === "default" ? found[1] : `${found[1]}.${found[2]}`;
}

/** good, warn or bad by the share of requests that did not fail. */
export function health(success) {
  if (success === null || success === undefined) return "idle";
  if (success >= 99.9) return "good";
  return success >= 95 ? "warn" : "bad";
}
