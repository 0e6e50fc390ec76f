"use strict";
// Light or dark: the system's choice until the reader makes one; and the button that copies the command.
(function () {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function stored(value) {
    // A page opened from disk may have no storage.
    try {
      if (value) localStorage.setItem("jsep-theme", value);
      return localStorage.getItem("jsep-theme");
    } catch (error) {
      return null;
    }
  }

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }

  function show() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    button.setAttribute("aria-pressed", String(isDark()));
    window.dispatchEvent(new Event("themechange"));
  }

  const earlier = stored();
  if (earlier === "dark" || earlier === "light") root.dataset.theme = earlier;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();

  for (const copy of document.querySelectorAll("button.copy")) {
    copy.addEventListener("click", async () => {
      const text = copy.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
        copy.textContent = "Copied";
      } catch (error) {
        getSelection().selectAllChildren(text);
        copy.textContent = "Selected";
      }
      setTimeout(() => (copy.textContent = "Copy"), 2000);
    });
  }
})();
