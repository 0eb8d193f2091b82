// Before the first paint: the theme that was chosen here, or else the system's.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden; the system's theme is fine.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
