"use strict";
// The theme, the choice of a task, and the charts of that task.
(() => {
  const root = document.documentElement;
  const charts = JSON.parse(document.getElementById("charts-data").textContent);
  const picker = document.getElementById("task");
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const drawn = [];

  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // --- colours

  const probe = made("span", { hidden: true });
  document.body.append(probe);

  const resolved = (color) => {
    probe.style.color = color;
    return getComputedStyle(probe).color;
  };

  // A copy in which the page's variables, wherever a colour stands, are the colours they are now.
  const colored = (value, key = "") => {
    if (typeof value === "string") return /color/i.test(key) && /^var\(--[\w-]+\)$/.test(value) ? resolved(value) : value;
    if (Array.isArray(value)) return value.map((inner) => colored(inner, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, colored(inner, name)]));
  };

  const draw = ({ element, chart }) => {
    const ink = resolved("var(--ink)");
    const surface = resolved("var(--surface)");
    const layout = {
      ...colored(chart.layout),
      height: chart.height,
      autosize: true,
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: surface, bordercolor: resolved("var(--quiet)"), font: { color: ink }, align: "left" },
    };
    return Plotly.react(element, colored(chart.data), layout, { displayModeBar: false, responsive: true });
  };

  const redraw = () => drawn.forEach(draw);

  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const named = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
  toggle.setAttribute("aria-label", "Change between light and dark");
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    named();
    redraw();
  });
  system.addEventListener("change", () => { named(); redraw(); });

  let before;
  addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; redraw(); });
  addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
    redraw();
  });

  // --- charts

  const numbers = (chart) => {
    const head = made("tr", {}, ...chart.columns.map((name) => made("th", { scope: "col", textContent: name })));
    const body = chart.rows.map((row) => made("tr", {}, ...row.map((cell) => made("td", { textContent: cell }))));
    const table = made("table", {}, made("thead", {}, head), made("tbody", {}, ...body));
    const scroll = made("div", { className: "scroll", tabIndex: 0 }, table);
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `Numbers: ${chart.title}`);
    return made("details", { className: "numbers" }, made("summary", { textContent: "The numbers" }), scroll);
  };

  const legend = (chart) => made("ul", { className: "legend" }, ...chart.legend.map(({ label, color, sign }) => {
    const mark = made("span", { className: "sign", textContent: sign });
    mark.style.color = color;
    mark.setAttribute("aria-hidden", "true");
    return made("li", {}, mark, label);
  }));

  const show = (task) => {
    drawn.splice(0).forEach(({ element }) => Plotly.purge(element));
    for (const [name, chart] of Object.entries(charts[task])) {
      const section = document.getElementById(name);
      section.querySelector("figure, .reason")?.remove();
      if (chart.reason) {
        section.append(made("p", { className: "reason", textContent: `Not shown: ${chart.reason}` }));
        continue;
      }
      const element = made("div", { className: "plot" });
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", `Chart: ${chart.title}. Its numbers are in the table below.`);
      element.style.height = `${chart.height}px`;
      const parts = [made("h3", { textContent: chart.title }), made("p", { className: "note", textContent: chart.note })];
      if (chart.legend.length) parts.push(legend(chart));
      section.append(made("figure", {}, ...parts, element, numbers(chart)));
      const entry = { element, chart };
      drawn.push(entry);
      draw(entry);
    }
    document.dispatchEvent(new CustomEvent("task", { detail: task }));
  };

  picker.addEventListener("change", () => show(Object.keys(charts)[picker.selectedIndex]));
  named();
  addEventListener("DOMContentLoaded", () => show(Object.keys(charts)[picker.selectedIndex]));
})();
