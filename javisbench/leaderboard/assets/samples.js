// The page of one result's samples: a table of all, and what lies behind one.
"use strict";

const javisbench = (function () {
  const SVG = "http://www.w3.org/2000/svg";
  const table = document.getElementById("samples");
  const folder = table.dataset.folder;
  const panel = document.getElementById("detail");
  const waiting = new Map();
  const loaded = new Map();
  let data = null;
  let grid = null;

  function make(name, attributes, text) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      node.setAttribute(key, value);
    }
    if (text !== undefined) {
      node.textContent = text;
    }
    return node;
  }

  function draw(name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) {
      node.setAttribute(key, value);
    }
    if (text !== undefined) {
      node.textContent = text;
    }
    return node;
  }

  function format(value, digits) {
    return value === null ? "–" : value.toFixed(digits);
  }

  // The table

  function missingLast(sign) {
    return function (a, b) {
      if (a === null || b === null) {
        return (a === null) - (b === null);
      }
      return sign * (a - b);
    };
  }

  function clipButton(index) {
    const button = make("button", { type: "button", class: "link" }, data.clips[index]);
    button.addEventListener("click", () => select(index, true));
    return button;
  }

  function build() {
    DataTable.type("value", {
      detect: () => false,
      order: { asc: missingLast(1), desc: missingLast(-1) },
    });
    const failed = new Set(data.failed);
    const columns = [
      {
        title: "Sample",
        data: null,
        render: (row, type) => (type === "display" ? clipButton(row) : data.clips[row]),
      },
    ];
    data.metrics.forEach(function (metric, k) {
      columns.push({
        title: metric.title,
        type: "value",
        className: "num",
        orderSequence: metric.higher === false ? ["asc", "desc"] : ["desc", "asc"],
        data: null,
        render: (row, type) => (type === "display" ? format(data.scores[k][row], metric.digits) : data.scores[k][row]),
      });
    });
    columns.push({
      title: "Failure",
      data: null,
      render: (row) => (failed.has(data.clips[row]) ? "yes" : ""),
    });
    grid = new DataTable(table, {
      autoWidth: false,
      columns: columns,
      data: data.clips.map((clip, index) => index),
      deferRender: true,
      language: {
        emptyTable: "No samples",
        info: "_START_ to _END_ of _TOTAL_ samples",
        infoEmpty: "No samples",
        infoFiltered: "(of _MAX_)",
        zeroRecords: "No sample matches",
      },
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
      order: [],
      pageLength: 25,
    });
    fillFilters(failed);
    window.addEventListener("hashchange", fromAddress);
    fromAddress();
  }

  function fillFilters(failed) {
    const category = document.getElementById("s-category");
    data.categories.forEach(function (title, number) {
      if (data.members.some((members) => members.includes(number))) {
        category.append(make("option", { value: String(number) }, title));
      }
    });
    const [id, only] = [document.getElementById("s-id"), document.getElementById("s-failed")];
    const form = document.getElementById("sample-filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", function () {
      const part = id.value.trim().toLowerCase();
      const number = category.value === "" ? null : parseInt(category.value, 10);
      grid.search.fixed("filters", function (text, row, index) {
        return (
          data.clips[index].toLowerCase().includes(part) &&
          (number === null || data.members[index].includes(number)) &&
          (!only.checked || failed.has(data.clips[index]))
        );
      });
      grid.draw();
    });
  }

  // One sample

  function fromAddress() {
    const clip = decodeURIComponent(location.hash.slice(1));
    const index = data.clips.indexOf(clip);
    if (index >= 0) {
      select(index, true);
    }
  }

  function select(index, move) {
    const number = Math.floor(index / data.chunk);
    history.replaceState(null, "", "#" + encodeURIComponent(data.clips[index]));
    if (loaded.has(number)) {
      show(index, loaded.get(number)[index - number * data.chunk], move);
      return;
    }
    waiting.set(number, () => select(index, move));
    const script = make("script", { src: folder + "details-" + number + ".js" });
    script.addEventListener("error", function () {
      panel.hidden = false;
      document.getElementById("detail-title").textContent = data.clips[index];
      document.getElementById("detail-body").replaceChildren(make("p", {}, "Its details could not be loaded."));
    });
    document.head.append(script);
  }

  function show(index, row, move) {
    const title = document.getElementById("detail-title");
    const body = document.getElementById("detail-body");
    panel.hidden = false;
    title.textContent = data.clips[index];
    body.replaceChildren();
    if (row.text) {
      body.append(make("p", { class: "prompt" }, row.text));
    }
    const names = data.members[index].map((number) => data.categories[number]);
    if (names.length) {
      body.append(make("p", { class: "muted" }, names.join(" · ")));
    }
    body.append(media(row), scores(index));
    const [curve, events] = [windows(row.series), times(row.series)];
    if (curve) {
      body.append(curve);
    }
    if (events) {
      body.append(events);
    }
    told(body, "Failures", row.failures);
    told(body, "Not applicable", row.not_applicable);
    if (move) {
      title.focus({ preventScroll: true });
      panel.scrollIntoView({ block: "nearest" });
    }
  }

  function told(body, title, rows) {
    if (rows.length) {
      const list = make("ul", { class: "failures" });
      rows.forEach((words) => list.append(make("li", {}, words.filter(Boolean).join(": "))));
      body.append(make("h3", {}, title), list);
    }
  }

  function media(row) {
    const box = make("div", { class: "media" });
    if (row.files.video) {
      box.append(make("video", { controls: "", preload: "metadata", src: folder + row.files.video }));
    }
    if (row.files.audio) {
      const figure = make("figure", {});
      figure.append(make("audio", { controls: "", preload: "metadata", src: folder + row.files.audio }));
      figure.append(make("figcaption", {}, "The sound file beside the video, which was scored"));
      box.append(figure);
    }
    return box;
  }

  function scores(index) {
    const list = make("dl", { class: "facts" });
    data.metrics.forEach(function (metric, k) {
      const box = make("div", {});
      box.append(make("dt", {}, metric.title), make("dd", {}, format(data.scores[k][index], metric.digits)));
      list.append(box);
    });
    return list;
  }

  // Plots of time, in seconds

  // As wide as there is room, so that text keeps its size on a phone.
  const WIDEST = 560;
  const LEFT = 100;

  function numbers(values) {
    return (values || []).filter((value) => value !== null);
  }

  function plot(height, end, label) {
    const width = Math.max(240, Math.min(WIDEST, document.getElementById("detail-body").clientWidth));
    const svg = draw("svg", { width: width, height: height + 24, role: "img", "aria-label": label, class: "time" });
    const x = (t) => LEFT + ((width - LEFT - 12) * t) / end;
    const step = end > 12 ? 5 : end > 6 ? 2 : 1;
    for (let t = 0; t <= end + 1e-9; t += step) {
      svg.append(draw("line", { x1: x(t), x2: x(t), y1: 4, y2: height, class: "grid" }));
      svg.append(draw("text", { x: x(t), y: height + 16, "text-anchor": "middle" }, t + " s"));
    }
    return { svg: svg, x: x };
  }

  function captioned(svg, caption) {
    const figure = make("figure", { class: "plot" });
    figure.append(svg, make("figcaption", {}, caption));
    return figure;
  }

  function windows(series) {
    const [values, starts] = [series["javis_score.windows"], series["javis_score.window_times_s"]];
    const points = (values || []).map((v, i) => [starts ? starts[i] : i, v]).filter((p) => p[0] != null && p[1] !== null);
    if (!points.length) {
      return null;
    }
    const end = Math.max(1, ...points.map((p) => p[0]));
    const [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
    const height = 120;
    const y = (v) => (high > low ? 14 + ((height - 28) * (high - v)) / (high - low) : height / 2);
    const text = points.map((p) => p[0] + " s: " + p[1].toFixed(3)).join(", ");
    const { svg, x } = plot(height, end, "JavisScore of each window by its start: " + text);
    const ends = high > low ? [low, high] : [low];
    for (const v of ends) {
      svg.append(draw("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(3)));
    }
    svg.append(draw("polyline", { points: points.map((p) => x(p[0]) + "," + y(p[1])).join(" "), class: "curve" }));
    points.forEach((p) => svg.append(draw("circle", { cx: x(p[0]), cy: y(p[1]), r: 3.5, class: "point" })));
    return captioned(svg, "JavisScore of each window, by the time at which the window starts");
  }

  const TITLES = {
    "av_align.onset_times_s": "sound onsets",
    "av_align.peak_times_s": "motion peaks",
    "javis_score.window_times_s": null,
  };

  function times(series) {
    const lanes = Object.keys(series)
      .filter((name) => name.endsWith("_times_s") && TITLES[name] !== null)
      .map((name) => [TITLES[name] || name.replace("_times_s", "").replace(/[._]/g, " "), numbers(series[name])]);
    if (!lanes.length) {
      return null;
    }
    const end = Math.max(1, Math.ceil(Math.max(0, ...lanes.flatMap((lane) => lane[1])) * 2) / 2);
    const height = 30 * lanes.length + 8;
    const label = lanes.map((lane) => lane[0] + " at " + (lane[1].map((t) => t.toFixed(2) + " s").join(", ") || "no time"));
    const { svg, x } = plot(height, end, label.join("; "));
    lanes.forEach(function (lane, k) {
      const middle = 19 + 30 * k;
      svg.append(draw("text", { x: LEFT - 8, y: middle + 4, "text-anchor": "end" }, lane[0]));
      for (const t of lane[1]) {
        svg.append(draw("line", { x1: x(t), x2: x(t), y1: middle - 10, y2: middle + 10, class: "event lane" + (k % 2) }));
      }
    });
    return captioned(svg, "Onsets in the sound and peaks of motion in the picture");
  }

  return {
    receive: function (kind, value) {
      if (kind === "samples") {
        data = value;
        build();
      } else {
        loaded.set(value.number, value.rows);
        const then = waiting.get(value.number);
        waiting.delete(value.number);
        if (then) {
          then();
        }
      }
    },
  };
})();
