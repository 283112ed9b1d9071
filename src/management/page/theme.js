// Before anything is painted: the choice of light or dark, if one was made. Without one the system's counts.
"use strict";
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("leveret-theme");
  } catch {
    // Storage may be forbidden; the system's choice is good, too.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
