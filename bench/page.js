"use strict";
addEventListener("error", e => {
    document.documentElement.dataset.errors = (Number(document.documentElement.dataset.errors) || 0) + 1;
    document.getElementById("errors").textContent += "This page's script has failed: " + e.message + " (line " + e.lineno + ")\n";
});
const data = JSON.parse(document.getElementById("data").textContent);

/* Elements, with attributes and children. */
function html(name, attrs, ...children) { return fill(document.createElement(name), attrs, children); }
function svg(name, attrs, ...children) { return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attrs, children); }
function fill(e, attrs, children) {
    for (const [k, v] of Object.entries(attrs || {}))
        e.setAttribute(k, v);
    e.append(...children);
    return e;
}
