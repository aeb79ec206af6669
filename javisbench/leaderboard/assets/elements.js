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

  // A page opened from a file may not fetch other files, but it may load scripts.
  function load(address, failed) {
    const script = filled(document.createElement("script"), { src: address });
    script.addEventListener("error", failed);
    document.head.append(script);
  }

  // Rows that lie in scripts, piece by piece: one is loaded when a row of it is asked for, and calls `take`.
  function pieces(beginning) {
    const [loaded, waiting] = [new Map(), new Map()];
    return {
      // Hands the row to `show`, at once or once its piece is there.
      row: function (index, data, show) {
        const number = Math.floor(index / data.chunk);
        const found = () => show(loaded.get(number)[index - number * data.chunk]);
        if (loaded.has(number)) {
          found();
          return;
        }
        waiting.set(number, found);
        load(beginning + number + ".js", function () {
          document.getElementById("detail").hidden = false;
          document.getElementById("detail-title").textContent = data.clips[index];
          const told = filled(document.createElement("p"), {}, "Its details could not be loaded.");
          document.getElementById("detail-body").replaceChildren(told);
        });
      },
      take: function (piece) {
        loaded.set(piece.number, piece.rows);
        const found = waiting.get(piece.number);
        waiting.delete(piece.number);
        if (found) {
          found();
        }
      },
    };
  }

  // Choices of the categories that some clip is in.
  function categories(data) {
    const field = document.getElementById("s-category");
    data.categories.forEach(function (title, number) {
      if (data.members.some((members) => members.includes(number))) {
        field.append(filled(document.createElement("option"), { value: String(number) }, title));
      }
    });
    return field;
  }

  return {
    load: load,
    pieces: pieces,
    categories: categories,
    make: (name, attributes, text) => filled(document.createElement(name), attributes, text),
    draw: (name, attributes, text) => filled(document.createElementNS(SVG, name), attributes, text),
    format: (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits)),
    orders: { asc: missingLast(1), desc: missingLast(-1) },
  };
})();
