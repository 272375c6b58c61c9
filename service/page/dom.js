// Building elements: text always as text, never as markup, because file names and transcripts are
// strangers' words.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An HTML element with attributes, listeners (`onclick: f`) and children (nodes or text). */
export const html = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

/** An SVG element, likewise. */
export const svg = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null));
  return element;
}

/** Say something to screen readers without moving the focus. */
export function announce(text) {
  byId("live").textContent = text;
}

/** A button that copies a text and says that it did. */
export function copyButton(text, what) {
  const button = html("button", { type: "button", class: "quiet", onclick: copy }, `Copy ${what}`);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Without TLS a browser has no clipboard for pages: the text is selected for Ctrl+C instead.
      const shown = button.parentElement.querySelector("pre");
      getSelection().selectAllChildren(shown);
      button.textContent = "Selected: press Ctrl+C";
    }
    announce(button.textContent);
    setTimeout(() => (button.textContent = `Copy ${what}`), 3000);
  }
  return button;
}
