// Boards: sorting by DataTables, filters, choice of metrics, theme.
"use strict";

(function () {
  const root = document.documentElement;

  // Theme

  const button = document.getElementById("theme");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  }

  function showTheme() {
    button.setAttribute("aria-pressed", String(isDark()));
  }

  button.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("javisbench-theme", root.dataset.theme);
    } catch (error) {
      // Not kept for the next page then.
    }
    showTheme();
  });
  prefersDark.addEventListener("change", showTheme);
  showTheme();

  // Tables. A missing value is last, whichever way a column is sorted.

  function comparer(sign) {
    return function (a, b) {
      const [x, y] = [parseFloat(a), parseFloat(b)];
      if (isNaN(x) || isNaN(y)) {
        return isNaN(x) - isNaN(y);
      }
      return sign * (x - y);
    };
  }

  DataTable.type("score", {
    detect: function () {
      return false;
    },
    order: { asc: comparer(1), desc: comparer(-1) },
  });

  // The order in which the first click on a heading sorts: the better end first.
  function firstOrder(heading) {
    return heading.textContent.includes("lower is better") ? ["asc", "desc"] : ["desc", "asc"];
  }

  function makeTable(table) {
    const headings = Array.from(table.tHead.rows[0].cells);
    const first = headings.findIndex((h) => table.dataset.first && h.dataset.metric === table.dataset.first);
    const columns = headings.map(function (heading) {
      const number = heading.classList.contains("num");
      return number ? { type: "score", orderSequence: firstOrder(heading) } : { orderSequence: ["asc", "desc"] };
    });
    return new DataTable(table, {
      autoWidth: false,
      columns: columns,
      info: false,
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
      order: first < 0 ? [] : [[first, columns[first].orderSequence[0]]],
      paging: false,
      search: { smart: false },
    });
  }

  const boards = Array.from(document.querySelectorAll("table[data-board]")).map((node) => ({ node: node, table: null }));

  function tableOf(board) {
    board.table = board.table || makeTable(board.node);
    return board.table;
  }

  // The first board at once. The others follow while nothing else is to be done, or when a filter asks for them: a page
  // of six categories and thirty models would stand still for a second.
  function makeNext(idle) {
    const next = boards.find((board) => board.table === null);
    if (next) {
      tableOf(next);
      idle(() => makeNext(idle));
    }
  }

  boards.slice(0, 1).forEach(tableOf);
  window.addEventListener("load", function () {
    const idle = window.requestIdleCallback ? window.requestIdleCallback.bind(window) : setTimeout.bind(window);
    idle(() => makeNext(idle));
  });
  document.querySelectorAll("table[data-plain]").forEach(makeTable);

  // Filters

  const form = document.getElementById("filters");
  const fold = document.getElementById("filter-fold");
  if (fold) {
    // Where there is room; on a phone the tables come first.
    fold.open = window.matchMedia("(min-width: 40rem)").matches;
  }

  function value(id) {
    const field = document.getElementById(id);
    return field ? field.value.trim() : "";
  }

  function matches(row) {
    const data = row.dataset;
    const size = data.size === "" ? null : parseFloat(data.size);
    const [min, max] = [parseFloat(value("f-min")), parseFloat(value("f-max"))];
    return (
      data.model.toLowerCase().includes(value("f-model").toLowerCase()) &&
      (value("f-family") === "" || data.family === value("f-family")) &&
      (value("f-licence") === "" || data.licence === value("f-licence")) &&
      (isNaN(min) || (size !== null && size >= min)) &&
      (isNaN(max) || (size !== null && size <= max))
    );
  }

  function applyFilters() {
    let [shown, all] = [0, 0];
    const chosen = new Set(Array.from(form.querySelectorAll("[name=metric]:checked"), (box) => box.value));
    for (const board of boards) {
      const table = tableOf(board);
      table.search.fixed("filters", (text, data, index) => matches(table.row(index).node()));
      table.columns().every(function () {
        const metric = this.header().dataset.metric;
        if (metric !== undefined && this.visible() !== chosen.has(metric)) {
          this.visible(chosen.has(metric), false);
        }
      });
      table.draw();
      shown += table.rows({ search: "applied" }).count();
      all += table.rows().count();
    }
    document.getElementById("f-count").textContent = shown === all ? "" : shown + " of " + all + " rows shown";
  }

  if (form) {
    form.addEventListener("input", applyFilters);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(applyFilters));
  }

  // Charts: one metric at a time.

  const chooser = document.getElementById("chart");

  function showChart() {
    document.querySelectorAll("[data-chart]").forEach(function (chart) {
      chart.classList.toggle("shown", chart.dataset.chart === chooser.value);
    });
  }

  // An address that ends in a metric's id shows that metric, and the one that is shown stands in the address.
  function chartFromAddress() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const known = Array.from(chooser.options).some((option) => option.value === wanted);
    if (known) {
      chooser.value = wanted;
      showChart();
    }
    return known;
  }

  if (chooser) {
    const first = chooser.dataset.first || (boards.length ? boards[0].node.dataset.first : "");
    if (first && Array.from(chooser.options).some((option) => option.value === first)) {
      chooser.value = first;
    }
    chooser.addEventListener("change", function () {
      history.replaceState(null, "", "#" + encodeURIComponent(chooser.value));
      showChart();
    });
    window.addEventListener("hashchange", chartFromAddress);
    if (!chartFromAddress()) {
      showChart();
    }
  }
})();
