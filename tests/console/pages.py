"""How a test opens a page, and what must be true of every page."""

from __future__ import annotations

from console.chromium import Tab
from console.live import Live

WELL_MADE = """(() => {
    const faults = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const one = (selector) => { if (all(selector).length !== 1) faults.push(selector + ": " + all(selector).length); };
    one("h1"); one("main"); one("nav[aria-label]"); one("header"); one("footer");
    if (all("#links a[aria-current=page]").length !== 1) faults.push("no current page");
    for (const table of all("table")) {
        if (!table.caption || !table.caption.textContent.trim()) faults.push("a table without caption");
        for (const head of table.querySelectorAll("th")) if (!head.scope) faults.push("th without scope: " + head.textContent);
    }
    for (const field of all("input, select")) if (!field.labels.length) faults.push("no label: " + field.name);
    for (const button of all("button")) if (!button.textContent.trim()) faults.push("a button without name");
    for (const image of all("img")) if (!image.hasAttribute("alt")) faults.push("an image without alt");
    for (const drawing of all("main svg:not([aria-hidden])")) {
        if (!drawing.closest("[aria-hidden]") && !drawing.getAttribute("aria-label")) faults.push("a drawing without label");
    }
    let level = 0;
    for (const heading of all("h1, h2, h3, h4")) {
        const here = Number(heading.tagName[1]);
        if (here > level + 1) faults.push("a heading skips a level: " + heading.textContent);
        level = here;
    }
    for (const section of all("section[aria-labelledby]")) {
        if (!document.getElementById(section.getAttribute("aria-labelledby"))) faults.push("a section without its heading");
    }
    const ids = all("[id]").map((element) => element.id);
    if (new Set(ids).size !== ids.length) faults.push("an id twice: " + ids.filter((id, at) => ids.indexOf(id) !== at));
    return faults;
})()"""

CONTRAST = """(() => {
    const channel = (value) => { const part = value / 255; return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; };
    const light = ([red, green, blue]) => 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
    const parse = (text) => (text.match(/[0-9.]+/g) ?? []).map(Number);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = parse(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const faults = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode.data.trim();
        const element = walker.currentNode.parentElement;
        if (!text || !element.checkVisibility() || element.closest(".unseen, button:disabled, noscript, option, title")) continue;
        const style = getComputedStyle(element);
        const color = parse(element.closest("svg") ? style.fill : style.color);
        const [one, other] = [light(color), light(ground(element.closest("svg") ?? element))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.7 && Number(style.fontWeight) >= 700);
        if (ratio < (large ? 3 : 4.5)) faults.push(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
    }
    return faults;
})()"""


def show(tab: Tab, live: Live, page: str) -> None:
    """Opens a page and waits until it shows data."""
    tab.go(f"{live.url}/#/{page}")
    tab.wait(f"document.querySelector('.page[data-key={page.partition('?')[0]}]:not([aria-busy])')")
