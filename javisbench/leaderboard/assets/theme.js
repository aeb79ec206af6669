// Runs before the page is drawn, so that a chosen theme does not flash.
"use strict";
(function () {
  const root = document.documentElement;
  root.classList.add("script");
  let saved = null;
  try {
    saved = localStorage.getItem("javisbench-theme");
  } catch (error) {
    // Storage may be off; the system's choice then holds.
  }
  if (saved === "dark" || saved === "light") {
    root.dataset.theme = saved;
  }
})();
