// One prompt by all models: their clips side by side, played together, and their scores.
"use strict";

const javisbench = (function () {
  const { make, format, orders, pieces, categories } = elements;
  const table = document.getElementById("samples");
  const panel = document.getElementById("detail");
  const details = pieces(table.dataset.folder + "prompts-");
  let data = null;
  let chosen = null; // numbers of the models that are shown
  let current = null; // index of the prompt that is shown
  let group = null;

  // The list

  function promptButton(index) {
    const button = make("button", { type: "button", class: "link" }, data.clips[index]);
    button.addEventListener("click", () => select(index, true));
    return button;
  }

  function build() {
    DataTable.type("value", { detect: () => false, order: orders });
    const grid = new DataTable(table, {
      autoWidth: false,
      columns: [
        { title: "Sample", data: null, render: (row, type) => (type === "display" ? promptButton(row) : data.clips[row]) },
        {
          title: "Clips",
          type: "value",
          className: "num",
          orderSequence: ["desc", "asc"],
          data: null,
          render: (row) => data.playable[row],
        },
        {
          title: "Categories",
          className: "categories-of",
          data: null,
          render: (row) => data.members[row].map((k) => data.categories[k]).join(", "),
        },
      ],
      data: data.clips.map((clip, index) => index),
      deferRender: true,
      language: {
        emptyTable: "No prompts",
        info: "_START_ to _END_ of _TOTAL_ prompts",
        infoEmpty: "No prompts",
        infoFiltered: "(of _MAX_)",
        zeroRecords: "No prompt matches",
      },
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
      order: [],
      pageLength: 10,
    });
    const category = categories(data);
    const [id, playable] = [document.getElementById("s-id"), document.getElementById("s-playable")];
    const form = document.getElementById("sample-filters");
    grid.search.fixed("filters", function (text, row, index) {
      return (
        data.clips[index].toLowerCase().includes(id.value.trim().toLowerCase()) &&
        (category.value === "" || data.members[index].includes(parseInt(category.value, 10))) &&
        (playable === null || !playable.checked || data.playable[index] > 0)
      );
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => grid.draw());
    grid.draw();
    window.addEventListener("hashchange", fromAddress);
    if (!fromAddress()) {
      const first = data.playable.findIndex((count) => count > 1);
      select(Math.max(0, first), false);
    }
  }

  // One prompt

  function fromAddress() {
    const index = data.clips.indexOf(decodeURIComponent(location.hash.slice(1)));
    if (index >= 0) {
      select(index, true);
    }
    return index >= 0;
  }

  function select(index, move) {
    if (move) {
      history.replaceState(null, "", "#" + encodeURIComponent(data.clips[index]));
    }
    details.row(index, data, (row) => show(index, row, move));
  }

  function show(index, row, move) {
    if (group) {
      group.pause();
      group = null;
    }
    current = index;
    const [title, body] = [document.getElementById("detail-title"), document.getElementById("detail-body")];
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
    body.append(steps(index));
    const having = data.models.map((model, k) => k).filter((k) => row.by[k].files.video || row.by[k].scores);
    if (chosen === null) {
      const playable = having.filter((k) => row.by[k].files.video);
      chosen = new Set((playable.length ? playable : having).slice(0, data.first));
    }
    if (having.length > data.first) {
      body.append(chooser(index, row, having));
    }
    body.append(side(row, having.filter((k) => chosen.has(k))));
    if (move) {
      title.focus({ preventScroll: true });
      panel.scrollIntoView({ block: "start" });
    }
  }

  function steps(index) {
    const box = make("p", { class: "steps" });
    const wanted = (k) => data.playable[index] === 0 || data.playable[k] > 0;
    for (const [text, step] of [["Previous prompt", -1], ["Next prompt", 1]]) {
      let k = index + step;
      while (k >= 0 && k < data.clips.length && !wanted(k)) {
        k += step;
      }
      const button = make("button", { type: "button" }, text);
      button.disabled = k < 0 || k >= data.clips.length;
      button.addEventListener("click", () => select(k, true));
      box.append(button, " ");
    }
    return box;
  }

  function chooser(index, row, having) {
    const [box, fields] = [make("details", { class: "choose" }), make("fieldset")];
    box.append(make("summary", {}, "Models"), fields);
    fields.append(make("legend", {}, "Models shown"));
    for (const k of having) {
      const label = make("label");
      const field = make("input", { type: "checkbox", value: String(k) });
      field.checked = chosen.has(k);
      field.addEventListener("change", function () {
        chosen[field.checked ? "add" : "delete"](k);
        show(index, row, false);
        const again = document.querySelector(".choose");
        again.open = true;
        again.querySelector("input[value='" + k + "']").focus();
      });
      label.append(field, " " + data.models[k].model);
      fields.append(label, " ");
    }
    return box;
  }

  function side(row, shown) {
    const [box, grid] = [make("div"), make("div", { class: "side" })];
    const clips = [];
    for (const k of shown) {
      const [model, found] = [data.models[k], row.by[k]];
      const figure = make("figure", { class: "clip" });
      const caption = make("figcaption");
      const link = make("a", { href: model.samples + "#" + encodeURIComponent(data.clips[current]) }, model.model);
      caption.append(link);
      figure.append(caption);
      if (found.files.video) {
        const video = make("video", { playsinline: "", preload: "metadata", src: model.folder + found.files.video });
        video.setAttribute("aria-label", "Clip of " + model.model);
        const clip = { video: video, audio: null, button: make("button", { type: "button", "aria-pressed": "false" }) };
        if (found.files.audio) {
          clip.audio = make("audio", { preload: "metadata", src: model.folder + found.files.audio });
        }
        const number = clips.length;
        clip.button.append("Hear", make("span", { class: "hidden" }, " " + model.model));
        clip.button.addEventListener("click", () => group.hear(group.heard() === number ? -1 : number));
        video.addEventListener("click", () => group.hear(number));
        clips.push(clip);
        caption.append(" ", clip.button);
        figure.append(video);
        if (clip.audio) {
          figure.append(clip.audio);
        }
      } else if (found.files.audio) {
        // Of a model that makes sound for the suite's videos, which a site does not publish.
        figure.append(make("audio", { controls: "", preload: "metadata", src: model.folder + found.files.audio }));
      } else {
        figure.append(make("p", { class: "muted" }, "No clip published."));
      }
      figure.append(scores(model, found.scores));
      grid.append(figure);
    }
    if (clips.length) {
      const controls = together.controls(clips);
      group = controls.player;
      box.append(controls.bar);
      // Digits choose what is heard, 0 nothing.
      box.addEventListener("keydown", function (event) {
        const number = parseInt(event.key, 10);
        if (!event.ctrlKey && !event.metaKey && !event.altKey && number >= 0 && number <= clips.length) {
          group.hear(number - 1);
          event.preventDefault();
        }
      });
    }
    box.append(grid);
    return box;
  }

  function scores(model, values) {
    if (!values) {
      return make("p", { class: "muted" }, "Not scored.");
    }
    const list = make("dl", { class: "scores" });
    model.columns.forEach(function (metric, k) {
      const box = make("div");
      box.append(make("dt", {}, metric.title), make("dd", {}, format(values[k], metric.digits)));
      list.append(box);
    });
    return list;
  }

  return {
    receive: function (kind, value) {
      if (kind === "prompts") {
        data = value;
        build();
      } else {
        details.take(value);
      }
    },
    group: () => group,
  };
})();
