// Elements from data. Text only ever becomes text nodes and attribute values: nothing here parses HTML,
// so a header, path or name that looks like markup is shown as it is.

const SVG = "http://www.w3.org/2000/svg";
const SAFE_LINK = /^(?:#|\/(?!\/)|https?:\/\/)/;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (/^on/i.test(name) || name === "style") throw new Error(`${name} is no attribute of ours`);
    if ((name === "href" || name === "src") && !SAFE_LINK.test(value)) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** An HTML element; children are nodes, texts, or lists of them; null and false leave no trace. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Makes `old` look like `fresh` and keeps what the reader is doing: focus, selection, scroll, open details. */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || key(old) !== key(fresh)) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return old;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return old;
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
  return old;
}

function morphAttributes(old, fresh) {
  const kept = old.nodeName === "DETAILS" ? "open" : null;
  for (const { name } of [...old.attributes]) {
    if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // What is being typed or chosen is the reader's.
  if (/^(?:INPUT|SELECT|TEXTAREA)$/.test(old.nodeName) && old !== document.activeElement) {
    if (old.value !== fresh.value) old.value = fresh.value;
    if (old.checked !== fresh.checked) old.checked = fresh.checked;
  }
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

/** The children of `old` become those of `fresh`; those with a data-key are recognized wherever they moved. */
export function morphChildren(old, fresh) {
  const known = new Map();
  for (const child of old.children) {
    if (key(child) !== null) known.set(key(child), child);
  }
  let here = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const name = key(wanted);
    const found = name === null ? null : known.get(name);
    if (found && found.parentNode === old) {
      if (found === here) here = here.nextSibling;
      else old.insertBefore(found, here);
      morph(found, wanted);
    } else if (here && name === null && key(here) === null) {
      const next = here.nextSibling;
      morph(here, wanted);
      here = next;
    } else {
      old.insertBefore(wanted, here);
    }
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}
