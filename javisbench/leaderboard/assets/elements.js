// What the pages of samples, prompts and comparisons are made of.
"use strict";

const elements = (function () {
  const SVG = "http://www.w3.org/2000/svg";

  function filled(node, attributes, text) {
    for (const [key, value] of Object.entries(attributes || {})) {
      node.setAttribute(key, value);
    }
    if (text !== undefined) {
      node.textContent = text;
    }
    return node;
  }

  // An order for DataTables in which what is missing comes last, whichever way a column is sorted.
  function missingLast(sign) {
    return function (a, b) {
      if (a === null || b === null) {
        return (a === null) - (b === null);
      }
      return sign * (a - b);
    };
  }

  return {
    make: (name, attributes, text) => filled(document.createElement(name), attributes, text),
    draw: (name, attributes, text) => filled(document.createElementNS(SVG, name), attributes, text),
    format: (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits)),
    orders: { asc: missingLast(1), desc: missingLast(-1) },

    // A page opened from a file may not fetch other files, but it may load scripts.
    load: function (address, failed) {
      const script = filled(document.createElement("script"), { src: address });
      script.addEventListener("error", failed);
      document.head.append(script);
    },
  };
})();
