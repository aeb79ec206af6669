// Blind pairs: two clips that play together, one heard at a time, and answers that the browser keeps.
"use strict";

const javisbench = (function () {
  const { make } = elements;
  const EVERY_MS = 100;
  const HEARD_S = 1; // of each clip, before an answer is taken; all of it where it is shorter
  const by = (id) => document.getElementById(id);
  let data = null;
  let items = []; // [pair, question] by number
  let state = { voter: "", answers: {}, saved: true };
  let keeps = true; // whether this browser keeps anything
  let current = 0;
  let clips = [];
  let group = null;
  let heard = [0, 0];
  let passes = [false, false]; // whether a clip was heard to its end
  let playing = false;
  let spent = 0;
  let looked = 0;

  // What is kept

  function place() {
    return "javisbench-votes-" + data.page;
  }

  function remember() {
    try {
      localStorage.setItem(place(), JSON.stringify(state));
    } catch (error) {
      keeps = false;
    }
    showKept();
  }

  function recall() {
    try {
      const found = JSON.parse(localStorage.getItem(place()) || "null");
      if (found && typeof found.voter === "string" && found.answers && typeof found.answers === "object") {
        state = found;
      }
    } catch (error) {
      keeps = false;
    }
  }

  function itemKey(number) {
    const [pair, question] = items[number];
    return data.pairs[pair].id + "|" + data.questions[question][0];
  }

  function answered() {
    return items.filter((item, number) => state.answers[itemKey(number)]).length;
  }

  function showKept() {
    const count = answered();
    by("keep").hidden = count === 0;
    const where = keeps ? (state.saved ? "saved as a file" : "kept by this browser") : "not kept by this browser: save them";
    by("kept").textContent = count + " of " + items.length + " answered, " + where + ".";
  }

  function table() {
    const quoted = (text) => '"' + String(text).replaceAll('"', '""') + '"';
    const lines = [["page", "pair", "question", "answer", "voter", "seconds"]];
    items.forEach(function (item, number) {
      const found = state.answers[itemKey(number)];
      if (found) {
        const [pair, question] = item;
        const voter = state.voter.replace(/[\u0000-\u001f\u007f]/g, " ");
        lines.push([data.page, data.pairs[pair].id, data.questions[question][0], found.answer, voter, found.seconds]);
      }
    });
    return lines.map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
  }

  function save() {
    const link = make("a", { download: "answers-" + data.page + "-" + slug(state.voter) + ".csv" });
    const address = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.href = address;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    state.saved = true;
    remember();
  }

  function slug(text) {
    return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40) || "voter";
  }

  // Start

  function code() {
    const bytes = crypto.getRandomValues(new Uint8Array(4));
    return "voter-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function welcome() {
    const begun = answered() > 0;
    by("start").hidden = false;
    by("pair").hidden = true;
    by("done").hidden = true;
    by("voter").value = state.voter || code();
    by("go").textContent = begun ? "Go on as " + state.voter : "Start";
    by("voter").readOnly = begun;
    by("other").hidden = !begun;
    showKept();
  }

  function begin(event) {
    event.preventDefault();
    state.voter = by("voter").value.trim() || code();
    remember();
    by("start").hidden = true;
    const first = items.findIndex((item, number) => !state.answers[itemKey(number)]);
    show(first < 0 ? items.length : first);
  }

  function another() {
    if (!state.saved && !window.confirm("The answers of " + state.voter + " were not saved as a file. Remove them?")) {
      return;
    }
    state = { voter: "", answers: {}, saved: true };
    remember();
    welcome();
    by("voter").focus();
  }

  // One pair

  function show(number) {
    const same = clips.length > 0 && number < items.length && items[number][0] === clips.pair;
    current = number;
    by("start").hidden = true;
    by("pair").hidden = number >= items.length;
    by("done").hidden = number < items.length;
    if (number >= items.length) {
      leave();
      finish();
      return;
    }
    const [pair, question] = items[number];
    by("pair-title").textContent = "Pair " + (pair + 1) + " of " + data.pairs.length;
    by("progress").max = items.length;
    by("progress").value = answered();
    by("prompt").textContent = data.pairs[pair].text;
    by("prompt").hidden = data.pairs[pair].text === "";
    by("question").textContent = data.questions[question][1];
    by("back").disabled = number === 0;
    if (!same) {
      leave();
      stage(pair);
    }
    spent = 0;
    looked = performance.now();
    showAnswers();
    by("pair-title").focus({ preventScroll: true });
  }

  function leave() {
    if (group) {
      group.pause();
    }
    group = null;
    clips = [];
    by("stage").replaceChildren();
  }

  function stage(pair) {
    const side = make("div", { class: "side" });
    heard = [0, 0];
    passes = [false, false];
    clips = data.pairs[pair].clips.map(function (files, k) {
      const figure = make("figure", { class: "clip" });
      const caption = make("figcaption", {}, "Clip " + (k + 1) + " ");
      const button = make("button", { type: "button", "aria-pressed": "false" }, "Hear");
      button.append(make("span", { class: "hidden" }, " clip " + (k + 1)));
      caption.append(button);
      const video = make("video", { playsinline: "", preload: "auto", src: files.video });
      video.setAttribute("aria-label", "Clip " + (k + 1));
      const clip = { video: video, audio: null, button: button, figure: figure };
      figure.append(caption, video);
      if (files.audio) {
        clip.audio = make("audio", { preload: "auto", src: files.audio });
        figure.append(clip.audio);
      }
      button.addEventListener("click", () => hear(k));
      video.addEventListener("click", () => hear(k));
      for (const media of [video, clip.audio].filter(Boolean)) {
        media.addEventListener("error", showAnswers);
      }
      side.append(figure);
      return clip;
    });
    clips.pair = pair;
    const controls = together.controls(clips);
    group = controls.player;
    by("stage").append(controls.bar, side);
  }

  function hear(k) {
    group.hear(k);
    showHeard();
  }

  function showHeard() {
    clips.forEach((clip, k) => clip.figure.classList.toggle("heard", group.heard() === k));
  }

  function broken(k) {
    return Boolean(clips[k].video.error || (clips[k].audio && clips[k].audio.error));
  }

  function known(k) {
    return broken(k) || passes[k] || heard[k] >= HEARD_S;
  }

  // Who has answered before has heard both, and may think again.
  function ready() {
    const earlier = state.answers[itemKey(current)];
    const heardBoth = (earlier && earlier.answer !== "skip") || (known(0) && known(1));
    return clips.length === 2 && heardBoth && !(broken(0) || broken(1));
  }

  function showAnswers() {
    if (clips.length !== 2) {
      return;
    }
    const found = state.answers[itemKey(current)];
    for (const button of document.querySelectorAll("[data-answer]")) {
      button.disabled = !ready();
      button.setAttribute("aria-pressed", String(Boolean(found) && found.answer === button.dataset.answer));
    }
    const lost = [0, 1].filter(broken).map((k) => k + 1);
    const missing = [0, 1].filter((k) => !known(k)).map((k) => k + 1);
    by("hint").textContent = lost.length
      ? "Clip " + lost.join(" and ") + " cannot be played by this browser: skip the pair."
      : missing.length && !ready()
        ? "Listen to clip " + missing.join(" and clip ") + " first."
        : "";
  }

  // Called all the time: adds up what was heard, and plays the clips once more for the other sound.
  function watch() {
    const now = performance.now();
    const step_s = Math.min(1, (now - looked) / 1000);
    looked = now;
    if (group === null) {
      return;
    }
    spent += step_s;
    showHeard();
    const k = group.heard();
    const runs = group.isPlaying();
    if (runs && k >= 0) {
      heard[k] += clips.some((clip) => !clip.video.paused) ? step_s : 0;
    }
    if (playing && !runs && group.duration() > 0 && group.time() >= group.duration() - 0.1) {
      if (k >= 0) {
        passes[k] = true;
      }
      if (k >= 0 && !known(1 - k) && !broken(0) && !broken(1)) {
        hear(1 - k);
        group.play();
      }
    }
    playing = group.isPlaying();
    showAnswers();
  }

  function toggle() {
    if (group.isPlaying()) {
      group.pause();
    } else {
      group.play();
    }
  }

  function replay() {
    group.pause();
    group.seek(0);
    group.play();
  }

  function answer(word) {
    if (word !== "skip" && !ready()) {
      showAnswers();
      return;
    }
    const earlier = state.answers[itemKey(current)];
    const seconds = Math.round((spent + (earlier ? earlier.seconds : 0)) * 10) / 10;
    state.answers[itemKey(current)] = { answer: word, seconds: seconds };
    state.saved = false;
    remember();
    show(current + 1);
  }

  function back() {
    if (current > 0) {
      show(current - 1);
    }
  }

  function finish() {
    const skipped = Object.values(state.answers).filter((found) => found.answer === "skip").length;
    by("done-said").textContent =
      "All pairs are answered" + (skipped ? " (" + skipped + " skipped)" : "") + ". Save your answers as a file and send it to whoever asked you.";
    showKept();
    by("done-title").focus();
  }

  const KEYS = {
    1: () => answer("1"),
    2: () => answer("2"),
    3: () => answer("tie"),
    t: () => answer("tie"),
    0: () => answer("bad"),
    b: () => answer("bad"),
    s: () => answer("skip"),
    p: back,
    r: replay,
    " ": toggle,
    ArrowLeft: () => hear(0),
    ArrowRight: () => hear(1),
  };

  function press(event) {
    const target = event.target;
    const writes = target.matches("input, select, textarea") && event.key !== " " && !/^[a-z0-9]$/.test(event.key);
    if (by("pair").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat || writes) {
      return;
    }
    // Space presses the button that has the focus.
    if (event.key === " " && target.matches("button, summary, a")) {
      return;
    }
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  }

  function build() {
    items = data.pairs.flatMap((pair, k) => data.questions.map((question, q) => [k, q]));
    recall();
    by("begin").addEventListener("submit", begin);
    by("other").addEventListener("click", another);
    by("back").addEventListener("click", back);
    by("again").addEventListener("click", () => show(items.length - 1));
    by("skip").addEventListener("click", () => answer("skip"));
    by("save").addEventListener("click", save);
    for (const button of document.querySelectorAll("[data-answer]")) {
      button.addEventListener("click", () => answer(button.dataset.answer));
    }
    document.addEventListener("keydown", press);
    setInterval(watch, EVERY_MS);
    welcome();
  }

  return {
    receive: function (kind, value) {
      data = value;
      build();
    },
    table: table,
  };
})();
