// Two models of a board: its verdicts on them, drawn.
"use strict";

const javisbench = (function () {
  const { make, draw, format, load } = elements;
  const WIDTH = 220;
  const HEIGHT = 22;
  const loaded = new Map();
  const waiting = new Map();
  const [first, second] = [document.getElementById("p-a"), document.getElementById("p-b")];
  const metricChoice = document.getElementById("p-metric");
  let groups = null;

  // "0-3" is the fourth model of the first group.
  function parsed(value) {
    return value.split("-").map((part) => parseInt(part, 10));
  }

  function fill(select, wanted) {
    groups.forEach(function (group, g) {
      if (wanted !== null && g !== wanted) {
        return;
      }
      const box = make("optgroup", { label: group.title });
      group.models.forEach((model, m) => box.append(make("option", { value: g + "-" + m }, model.model)));
      select.append(box);
    });
  }

  function fillSecond(wanted) {
    const g = parsed(first.value)[0];
    second.replaceChildren();
    fill(second, g);
    second.value = wanted;
    if (second.value === "" || second.value === first.value) {
      const m = groups[g].models.findIndex((model, k) => g + "-" + k !== first.value);
      second.value = g + "-" + m;
    }
  }

  function fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const places = {};
    groups.forEach((group, g) => group.models.forEach((model, m) => (places[model.id] = g + "-" + m)));
    const [a, b] = [places[wanted.get("a")], places[wanted.get("b")]];
    first.value = a || "0-0";
    fillSecond(b || "");
    show(wanted.get("metric"));
  }

  function address() {
    const [[g, a], [, b]] = [parsed(first.value), parsed(second.value)];
    const parts = new URLSearchParams({ a: groups[g].models[a].id, b: groups[g].models[b].id });
    if (metricChoice.value) {
      parts.set("metric", metricChoice.value);
    }
    history.replaceState(null, "", "#" + parts.toString());
  }

  function build() {
    fill(first, null);
    first.addEventListener("change", function () {
      fillSecond(second.value);
      show(metricChoice.value);
      address();
    });
    second.addEventListener("change", function () {
      if (second.value === first.value) {
        fillSecond("");
      }
      show(metricChoice.value);
      address();
    });
    document.getElementById("p-swap").addEventListener("click", function () {
      const old = first.value;
      first.value = second.value;
      fillSecond(old);
      show(metricChoice.value);
      address();
    });
    metricChoice.addEventListener("change", function () {
      show(metricChoice.value);
      address();
    });
    document.getElementById("pair").addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("hashchange", fromAddress);
    fromAddress();
  }

  // Rows of a pair lie with the model that comes first in the board's order.
  function show(metric) {
    const [[g, a], [, b]] = [parsed(first.value), parsed(second.value)];
    const low = Math.min(a, b);
    const name = g + "-" + low;
    if (!loaded.has(name)) {
      waiting.set(name, () => show(metric));
      load("data/compare/pairs-" + name + ".js", function () {
        document.getElementById("pair-said").textContent = "The verdicts could not be loaded.";
      });
      return;
    }
    const rows = loaded.get(name)[Math.max(a, b) - low - 1].map(function (row) {
      const [m, s, x, y, half, p, headline, better, smallest] = row;
      const turned = a > b;
      return {
        metric: m,
        slice: s,
        a: turned ? y : x,
        b: turned ? x : y,
        gap: turned ? y - x : x - y,
        half: half,
        p: p,
        headline: headline,
        better: better === 0 ? "" : (better === 1) !== turned ? "A" : "B",
        smallest: smallest,
        family: groups[g].models[a].families[m][s],
      };
    });
    showOverall(groups[g], a, b, rows);
    showCategories(groups[g], a, b, rows, metric);
  }

  function showOverall(group, a, b, rows) {
    const overall = rows.filter((row) => row.slice === 0).sort((x, y) => x.metric - y.metric);
    const models = [group.models[a], group.models[b]];
    const said = document.getElementById("pair-said");
    const tested = overall.filter((row) => row.p !== null);
    const better = (side) => tested.filter((row) => row.better === side).map((row) => group.metrics[row.metric].name);
    const sentences = [["A", models[0]], ["B", models[1]]]
      .map(([side, model]) => [model.model, better(side)])
      .filter((pair) => pair[1].length)
      .map((pair) => pair[0] + " is better by " + pair[1].join(", ") + ".");
    const size = Math.max(0, ...overall.map((row) => row.family[0]));
    said.textContent =
      (sentences.join(" ") || (tested.length ? "No metric tells the two apart over all samples." : "Nothing could be tested.")) +
      (size > 2 ? " Judged among the " + size + " models of the board." : "");
    const label = (row) => group.metrics[row.metric].title + (group.metrics[row.metric].headline ? " •" : "");
    const scale = (row) => 1.15 * Math.max(Math.abs(row.gap) + (row.half || 0), 1e-12);
    const caption = "All samples: " + models[0].model + " (A) minus " + models[1].model + " (B), each metric on its own scale";
    document.getElementById("overall").replaceChildren(table(group, overall, label, scale, caption, true), missing(group, a, b, overall));
  }

  function missing(group, a, b, overall) {
    const there = new Set(overall.map((row) => row.metric));
    const out = group.metrics.filter((metric, k) => !there.has(k)).map((metric) => metric.name);
    const marked = group.metrics.some((metric) => metric.headline) ? "• headline metric of the protocol." : "";
    const text = out.length ? " Not compared on this board, for want of values at equal n and weights: " + out.join(", ") + "." : "";
    const told = make("p", { class: "muted" }, marked + text + " More of ");
    told.append(make("a", { href: group.models[a].page }, group.models[a].model), " and ");
    told.append(make("a", { href: group.models[b].page }, group.models[b].model), ".");
    return told;
  }

  function showCategories(group, a, b, rows, metric) {
    const there = [...new Set(rows.filter((row) => row.slice > 0).map((row) => row.metric))].sort((x, y) => x - y);
    document.getElementById("by-category").hidden = there.length === 0;
    metricChoice.replaceChildren();
    for (const m of there) {
      metricChoice.append(make("option", { value: group.metrics[m].id }, group.metrics[m].title));
    }
    if (!there.length) {
      return;
    }
    const wanted = there.find((m) => group.metrics[m].id === (metric || "javis_score"));
    const chosen = wanted === undefined ? there[0] : wanted;
    metricChoice.value = group.metrics[chosen].id;
    const shown = rows.filter((row) => row.metric === chosen).sort((x, y) => x.slice - y.slice);
    const reach = 1.15 * Math.max(1e-12, ...shown.map((row) => Math.abs(row.gap) + (row.half || 0)));
    const caption = group.metrics[chosen].name + " by category, all on one scale";
    const label = (row) => group.slices[row.slice][1];
    document.getElementById("categories").replaceChildren(table(group, shown, label, () => reach, caption, false));
  }

  function table(group, rows, label, scale, caption, overall) {
    const box = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption });
    const node = make("table", { class: "pair" });
    const head = make("tr");
    const names = [overall ? "Metric" : "Category", "A − B", "A", "B", "Difference", "n", "p", "Better", "Smallest"];
    if (overall) {
      names.splice(7, 0, "p (headline)");
    }
    names.forEach((name, k) => head.append(make("th", { scope: "col", class: k > 1 && name !== "Better" ? "num" : "" }, name)));
    const [top, body] = [make("thead"), make("tbody")];
    top.append(head);
    for (const row of rows) {
      const digits = group.metrics[row.metric].digits + 1;
      const line = make("tr");
      line.append(make("th", { scope: "row" }, label(row)));
      const drawn = make("td");
      drawn.append(interval(row, scale(row)));
      line.append(drawn);
      const gap = make("td", { class: "num" });
      gap.append(make("span", { class: "value" }, (row.gap > 0 ? "+" : "") + format(row.gap, digits)));
      const note = row.half === null ? row.family[2] : "[" + format(row.gap - row.half, digits) + ", " + format(row.gap + row.half, digits) + "]";
      gap.append(make("span", { class: row.half === null ? "note" : "interval" }, note));
      line.append(number(format(row.a, digits)), number(format(row.b, digits)), gap, number(row.family[1].toLocaleString("en")), number(p(row.p)));
      if (overall) {
        line.append(number(p(row.headline)));
      }
      line.append(make("td", {}, row.better), number(format(row.smallest, digits)));
      body.append(line);
    }
    node.append(make("caption", {}, caption), top, body);
    box.append(node);
    return box;
  }

  function number(text) {
    return make("td", { class: "num" }, text);
  }

  function p(value) {
    return value === null ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3);
  }

  // Zero is in the middle. What is significant is full, the rest hollow.
  function interval(row, reach) {
    const x = (value) => WIDTH / 2 + (value / reach) * (WIDTH / 2 - 4);
    const svg = draw("svg", { width: WIDTH, height: HEIGHT, class: "gap" + (row.better ? " better" : ""), "aria-hidden": "true", focusable: "false" });
    svg.append(draw("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT, class: "zero" }));
    if (row.half !== null) {
      svg.append(draw("line", { x1: x(row.gap - row.half), x2: x(row.gap + row.half), y1: HEIGHT / 2, y2: HEIGHT / 2, class: "reach" }));
    }
    svg.append(draw("circle", { cx: x(row.gap), cy: HEIGHT / 2, r: 4.5, class: "dot" }));
    return svg;
  }

  return {
    receive: function (kind, value) {
      if (kind === "groups") {
        groups = value;
        build();
        return;
      }
      const name = value.group + "-" + value.first;
      loaded.set(name, value.pairs);
      const then = waiting.get(name);
      waiting.delete(name);
      if (then) {
        then();
      }
    },
  };
})();
