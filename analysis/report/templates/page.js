"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const kept = (key, value) => {
    try {
      if (value === undefined) return sessionStorage.getItem(key);
      sessionStorage.setItem(key, value);
    } catch { /* a page from a file may keep nothing */ }
    return null;
  };

  // Light or dark: what was chosen, else what the system prefers.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (name) => { root.dataset.theme = name; drawn.forEach(paint); };
  const colours = () => {
    const style = getComputedStyle(root);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of("--ink"), soft: of("--soft"), line: of("--line") };
  };

  const themed = (layout) => {
    const c = colours();
    const update = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": c.ink };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        Object.assign(update, { [key + ".gridcolor"]: c.line, [key + ".linecolor"]: c.soft, [key + ".zerolinecolor"]: c.soft, [key + ".tickcolor"]: c.soft });
      }
    }
    return update;
  };
  const drawn = new Set();
  const paint = (div) => {
    const update = themed(div._fullLayout);
    Plotly.relayout(div, update);
    if (div.data[0] && div.data[0].type === "parcoords") {
      const c = colours();
      Plotly.restyle(div, { "labelfont.color": c.ink, "tickfont.color": c.ink, "rangefont.color": c.soft, unselected: { line: { color: c.line, opacity: 0.15 } } });
    }
  };

  // On a phone panels that lie side by side are too small: they go below each other.
  const GAP = 64, SIDE = 0.16;
  const restack = (div, layout, columns) => {
    const panels = layout.annotations.length, rows = Math.ceil(panels / columns);
    const inner = rows * (190 + GAP) - GAP, width = (1 - SIDE * (columns - 1)) / columns;
    layout.height = inner + layout.margin.t + layout.margin.b;
    layout.legend.y = 1 + 46 / inner;
    div.style.height = layout.height + "px";
    for (let i = 0; i < panels; i++) {
      const column = i % columns, row = Math.floor(i / columns), n = i ? String(i + 1) : "";
      const left = column * (width + SIDE), top = 1 - (row * (190 + GAP)) / inner;
      const x = layout["xaxis" + n], y = layout["yaxis" + n];
      x.domain = [left, left + width];
      y.domain = [Math.max(0, top - 190 / inner), top];
      y.showticklabels = true;
      x.title = { text: i + columns < panels ? "" : "epoch", standoff: 4 };
      Object.assign(layout.annotations[i], { x: left + width / 2, y: top });
    }
  };

  const draw = async (div) => {
    if (drawn.has(div)) return;
    drawn.add(div);
    const { data, layout } = structuredClone(figures[div.id.slice(4)]);
    if (div.dataset.stacked && innerWidth <= 560) restack(div, layout, Number(div.dataset.stacked));
    await Plotly.newPlot(div, data, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
    paint(div);
    div.dataset.drawn = "yes";
    if (div.id === "fig-parallel") watchBrush(div);
    filter();
  };

  // A figure is drawn when it comes near the window, so that the first ones are there at once.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "500px" });

  // Filters: a curve is shown if both its activation and its optimizer are ticked.
  const ticked = (kind) => new Set([...document.querySelectorAll(`input[data-kind="${kind}"]:checked`)].map((box) => box.value));
  const filter = () => {
    const on = { activation: ticked("activation"), optimizer: ticked("optimizer") };
    for (const div of drawn) {
      if (!div.dataset.filtered || !div.data) continue;
      const visible = div.data.map((trace) => !trace.meta || Object.entries(trace.meta).every(([kind, value]) => on[kind].has(value)));
      if (visible.some((now, i) => now !== (div.data[i].visible !== false))) Plotly.restyle(div, { visible });
    }
  };
  document.querySelectorAll("input[data-kind]").forEach((box) => box.addEventListener("change", filter));
  document.querySelectorAll("button[data-all]").forEach((button) => button.addEventListener("click", () => {
    const boxes = [...document.querySelectorAll(`input[data-kind="${button.dataset.all}"]`)];
    const turnOn = boxes.some((box) => !box.checked);
    boxes.forEach((box) => { box.checked = turnOn; });
    filter();
  }));

  // Brushing: which trials every marked range lets through, counted and listed for those who cannot see lines.
  const inside = (value, range) => (Array.isArray(range[0]) ? range : [range]).some(([low, high]) => value >= low && value <= high);
  const watchBrush = (div) => {
    const trials = JSON.parse(document.getElementById("trials").textContent);
    const count = document.getElementById("brushed");
    const list = document.getElementById("brushed-list");
    const tell = () => {
      const dims = div._fullData[0].dimensions.filter((d) => d.constraintrange);
      const chosen = trials.filter((_, i) => dims.every((d) => inside(d.values[i], d.constraintrange)));
      count.textContent = `${chosen.length} of ${trials.length} trials selected`;
      const best = [...chosen].sort((a, b) => b[2] - a[2]).slice(0, 5);
      list.textContent = dims.length ? "Best of them: " + best.map(([n, label, score]) => `trial ${n} ${label} (${score.toFixed(4)})`).join(", ") : "";
    };
    div.on("plotly_restyle", tell);
    document.getElementById("unbrush").addEventListener("click", () => {
      Plotly.restyle(div, Object.fromEntries(div.data[0].dimensions.map((_, i) => [`dimensions[${i}].constraintrange`, null])));
    });
    tell();
  };

  setTheme(kept("theme") || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", (event) => { if (!kept("theme")) setTheme(event.matches ? "dark" : "light"); });
  document.getElementById("theme").addEventListener("click", () => {
    const name = root.dataset.theme === "dark" ? "light" : "dark";
    kept("theme", name);
    setTheme(name);
  });

  // The live page: asks whether there is news, and takes scroll and filters along.
  const off = JSON.parse(kept("off") || "[]");
  document.querySelectorAll("input[data-kind]").forEach((box) => { if (off.includes(box.id)) box.checked = false; });
  const figureDivs = document.querySelectorAll(".figure");
  if (kept("scroll")) { window.scrollTo(0, Number(kept("scroll"))); kept("scroll", ""); }
  const live = document.querySelector("[data-live]");
  if (live) {
    setInterval(async () => {
      const answer = await fetch("/version").catch(() => null);
      if (!answer || !answer.ok || (await answer.text()) === live.dataset.live) return;
      kept("scroll", String(window.scrollY));
      kept("off", JSON.stringify([...document.querySelectorAll("input[data-kind]:not(:checked)")].map((box) => box.id)));
      location.reload();
    }, 3000);
  }
  figureDivs.forEach((div) => near.observe(div));
  addEventListener("beforeprint", () => figureDivs.forEach(draw));
  root.dataset.ready = "yes";
})();
