// Runs before the first paint, so that a chosen theme does not flash in the other one.
(() => {
  const order = ["auto", "light", "dark"];

  function stored() {
    try {
      const theme = localStorage.getItem("embedworks-theme");
      return order.includes(theme) ? theme : "auto";
    } catch {
      return "auto"; // storage is switched off: the theme is then the system's
    }
  }

  function apply(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  apply(stored());

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme-button");
    let theme = stored();
    const label = () => {
      const next = order[(order.indexOf(theme) + 1) % order.length];
      button.textContent = `Theme: ${theme}`;
      button.setAttribute("aria-label", `Theme: ${theme}. Change to ${next}`);
    };
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      apply(theme);
      label();
      try {
        localStorage.setItem("embedworks-theme", theme);
      } catch {
        // Without storage the choice lasts until the page is left.
      }
    });
    label();
  });
})();
