// The page of one result's samples: a table of all, and what lies behind one.
"use strict";

const javisbench = (function () {
  const { make, draw, format, orders, pieces, categories } = elements;
  const table = document.getElementById("samples");
  const folder = table.dataset.folder;
  const panel = document.getElementById("detail");
  const details = pieces(folder + "details-");
  let data = null;
  let grid = null;

  // The table

  function clipButton(index) {
    const button = make("button", { type: "button", class: "link" }, data.clips[index]);
    button.addEventListener("click", () => select(index, true));
    return button;
  }

  function build() {
    DataTable.type("value", {
      detect: () => false,
      order: orders,
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
    const category = categories(data);
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
    history.replaceState(null, "", "#" + encodeURIComponent(data.clips[index]));
    details.row(index, data, (row) => show(index, row, move));
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
    const [box, video] = media(row);
    body.append(box, scores(index));
    // One axis of time for all plots, so that what happens at one moment stands in one line.
    const [points, lanes] = [windows(row.series), times(row.series)];
    const last = Math.max(0, ...points.map((p) => p[0]), ...lanes.flatMap((lane) => lane[1]));
    const end = Math.max(1, Math.ceil(last * 2) / 2);
    const plots = [];
    if (points.length) {
      plots.push(windowPlot(points, end));
    }
    if (lanes.length) {
      plots.push(eventPlot(lanes, end));
    }
    body.append(...plots.map((plotted) => plotted.figure));
    if (video) {
      follow(video, plots);
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

  // The clip, and its video for what follows its time. Where the sound could not be written into the copy of the video,
  // both are played together.
  function media(row) {
    const box = make("div", { class: "media" });
    if (!row.files.video) {
      if (row.files.audio) {
        box.append(make("audio", { controls: "", preload: "metadata", src: folder + row.files.audio }));
      }
      return [box, null];
    }
    const video = make("video", { playsinline: "", preload: "metadata", src: folder + row.files.video });
    box.append(video);
    if (row.files.audio) {
      const audio = make("audio", { preload: "metadata", src: folder + row.files.audio });
      box.append(audio, together.controls([{ video: video, audio: audio }]).bar);
      box.append(make("p", { class: "muted" }, "The sound is the file beside the video, which was scored."));
    } else {
      video.controls = true;
    }
    return [box, video];
  }

  function follow(video, plots) {
    const lines = plots.map(function (plotted) {
      const line = draw("line", { y1: 0, y2: plotted.height, class: "now" });
      plotted.svg.append(line);
      return [line, plotted.x];
    });
    function place() {
      for (const [line, x] of lines) {
        line.setAttribute("x1", x(video.currentTime));
        line.setAttribute("x2", x(video.currentTime));
      }
    }
    video.addEventListener("timeupdate", place);
    place();
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

  function plot(height, end, label, caption) {
    const width = Math.max(240, Math.min(WIDEST, document.getElementById("detail-body").clientWidth));
    const svg = draw("svg", { width: width, height: height + 24, role: "img", "aria-label": label, class: "time" });
    const x = (t) => LEFT + ((width - LEFT - 12) * Math.min(t, end)) / end;
    const step = end > 12 ? 5 : end > 6 ? 2 : 1;
    for (let t = 0; t <= end + 1e-9; t += step) {
      svg.append(draw("line", { x1: x(t), x2: x(t), y1: 4, y2: height, class: "grid" }));
      svg.append(draw("text", { x: x(t), y: height + 16, "text-anchor": "middle" }, t + " s"));
    }
    const figure = make("figure", { class: "plot" });
    figure.append(svg, make("figcaption", {}, caption));
    return { svg: svg, x: x, height: height, figure: figure };
  }

  // [start in seconds, score] of each window.
  function windows(series) {
    const [values, starts] = [series["javis_score.windows"], series["javis_score.window_times_s"]];
    return (values || []).map((v, i) => [starts ? starts[i] : i, v]).filter((p) => p[0] != null && p[1] !== null);
  }

  function windowPlot(points, end) {
    const [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
    const height = 120;
    const y = (v) => (high > low ? 14 + ((height - 28) * (high - v)) / (high - low) : height / 2);
    const text = points.map((p) => p[0] + " s: " + p[1].toFixed(3)).join(", ");
    const caption = "JavisScore of each window, by the time at which the window starts";
    const plotted = plot(height, end, "JavisScore of each window by its start: " + text, caption);
    const { svg, x } = plotted;
    const ends = high > low ? [low, high] : [low];
    for (const v of ends) {
      svg.append(draw("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(3)));
    }
    svg.append(draw("polyline", { points: points.map((p) => x(p[0]) + "," + y(p[1])).join(" "), class: "curve" }));
    points.forEach((p) => svg.append(draw("circle", { cx: x(p[0]), cy: y(p[1]), r: 3.5, class: "point" })));
    return plotted;
  }

  const TITLES = {
    "av_align.onset_times_s": "sound onsets",
    "av_align.peak_times_s": "motion peaks",
    "javis_score.window_times_s": null,
  };

  // [title, times in seconds] of each kind of event.
  function times(series) {
    return Object.keys(series)
      .filter((name) => name.endsWith("_times_s") && TITLES[name] !== null)
      .map((name) => [TITLES[name] || name.replace("_times_s", "").replace(/[._]/g, " "), numbers(series[name])]);
  }

  function eventPlot(lanes, end) {
    const height = 30 * lanes.length + 8;
    const label = lanes.map((lane) => lane[0] + " at " + (lane[1].map((t) => t.toFixed(2) + " s").join(", ") || "no time"));
    const plotted = plot(height, end, label.join("; "), "Events in the sound and in the picture");
    const { svg, x } = plotted;
    lanes.forEach(function (lane, k) {
      const middle = 19 + 30 * k;
      svg.append(draw("text", { x: LEFT - 8, y: middle + 4, "text-anchor": "end" }, lane[0]));
      for (const t of lane[1]) {
        svg.append(draw("line", { x1: x(t), x2: x(t), y1: middle - 10, y2: middle + 10, class: "event lane" + (k % 2) }));
      }
    });
    return plotted;
  }

  return {
    receive: function (kind, value) {
      if (kind === "samples") {
        data = value;
        build();
      } else {
        details.take(value);
      }
    },
  };
})();
