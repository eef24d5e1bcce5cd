"use strict";
const page = (() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const shown = { figures: read("figures"), trials: read("trials") };
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
  const themedLines = () => {
    const c = colours();
    return { "labelfont.color": c.ink, "tickfont.color": c.ink, "rangefont.color": c.soft, unselected: { line: { color: c.line, opacity: 0.15 } } };
  };
  const isParallel = (data) => data[0] && data[0].type === "parcoords";
  const drawn = new Set();
  const paint = (div) => {
    if (!div._fullLayout) return;
    Plotly.relayout(div, themed(div._fullLayout));
    if (isParallel(div.data)) Plotly.restyle(div, themedLines());
  };
  // A figure is drawn in the page's colours at once: to paint it afterwards is to draw it again.
  const put = (object, update) => {
    for (const [path, value] of Object.entries(update)) {
      const names = path.split("."), last = names.pop();
      names.reduce((part, name) => (part[name] ??= {}), object)[last] = value;
    }
  };
  const inColours = ([data, layout]) => {
    put(layout, themed(layout));
    if (isParallel(data)) put(data[0], themedLines());
    return [data, layout];
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

  const asDrawn = (div) => {
    const { data, layout } = structuredClone(shown.figures[div.id.slice(4)]);
    layout.uirevision = "kept"; // newer data leave zoom and marks as they are
    if (div.dataset.height) layout.height = Number(div.dataset.height);
    if (div.dataset.stacked && innerWidth <= 560) restack(div, layout, Number(div.dataset.stacked));
    return [data, layout];
  };
  const draw = async (div, figure = asDrawn(div)) => {
    if (drawn.has(div)) return;
    drawn.add(div);
    await Plotly.newPlot(div, ...inColours(figure), { responsive: true, displayModeBar: false });
    div.dataset.drawn = "yes";
    if (div.id === "fig-parallel") watchBrush(div);
    filter();
  };
  const redraw = async (div) => {
    await Plotly.react(div, ...inColours(asDrawn(div)));
    filter();
    if (div.id === "fig-parallel") tellBrush();
  };

  // A figure is drawn when it comes near the window, one after the other: the first ones are there
  // at once, and buttons answer between two of them.
  const near = new IntersectionObserver(async (entries) => {
    const divs = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    divs.forEach((div) => near.unobserve(div));
    for (const div of divs) {
      await draw(div);
      await new Promise((done) => setTimeout(done));
    }
  }, { rootMargin: "200px" });
  const watchFigures = (part) => part.querySelectorAll(".figure").forEach((div) => { if (!drawn.has(div)) near.observe(div); });

  // Filters: a curve is shown if both its activation and its optimizer are ticked.
  const boxesOf = (kind) => [...document.querySelectorAll(`input[data-kind="${kind}"]`)];
  const ticked = (kind) => new Set(boxesOf(kind).filter((box) => box.checked).map((box) => box.value));
  const filter = () => {
    const on = { activation: ticked("activation"), optimizer: ticked("optimizer") };
    for (const div of drawn) {
      if (!div.dataset.filtered || !div.data) continue;
      const visible = div.data.map((trace) => !trace.meta || Object.entries(trace.meta).every(([kind, value]) => on[kind].has(value)));
      if (visible.some((now, i) => now !== (div.data[i].visible !== false))) Plotly.restyle(div, { visible });
    }
  };
  document.addEventListener("change", (event) => { if (event.target.matches("input[data-kind]")) filter(); });

  // Brushing: which trials every marked range lets through, counted and listed for those who cannot see lines.
  const inside = (value, range) => (Array.isArray(range[0]) ? range : [range]).some(([low, high]) => value >= low && value <= high);
  const parallel = () => document.getElementById("fig-parallel");
  const tellBrush = () => {
    const div = parallel();
    if (!div || !div._fullData) return;
    const dims = div._fullData[0].dimensions.filter((d) => d.constraintrange);
    const chosen = shown.trials.filter((_, i) => dims.every((d) => inside(d.values[i], d.constraintrange)));
    document.getElementById("brushed").textContent = `${chosen.length} of ${shown.trials.length} trials selected`;
    const best = [...chosen].sort((a, b) => b[3] - a[3]).slice(0, 5);
    document.getElementById("brushed-list").textContent = dims.length ? "Best of them: " + best.map(([n, label, score]) => `trial ${n} ${label} (${score.toFixed(4)})`).join(", ") : "";
  };
  const watchBrush = (div) => { div.on("plotly_restyle", tellBrush); tellBrush(); };
  const unbrush = (div) => Plotly.restyle(div, Object.fromEntries(div.data[0].dimensions.map((_, i) => [`dimensions[${i}].constraintrange`, null])));

  // What buttons do. A page from a file may not have a clipboard: then the command is selected.
  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    const copied = navigator.clipboard ? await navigator.clipboard.writeText(code.textContent).then(() => true, () => false) : false;
    if (!copied) getSelection().selectAllChildren(code);
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "theme") {
      const name = root.dataset.theme === "dark" ? "light" : "dark";
      kept("theme", name);
      setTheme(name);
    } else if (button.id === "unbrush") {
      unbrush(parallel());
    } else if (button.dataset.copy) {
      copy(button);
    } else if (button.dataset.all) {
      const boxes = boxesOf(button.dataset.all), turnOn = boxes.some((box) => !box.checked);
      boxes.forEach((box) => { box.checked = turnOn; });
      filter();
    }
  });

  // A printed page is light, shows what is folded, and its figures are as wide as the paper.
  let unprinted = null;
  // A copy of each figure is printed, so that the figure keeps its zoom, its marks and its width.
  const printCopy = (div) => {
    const copy = div.cloneNode(false), shownNow = div.dataset.drawn ? structuredClone([div.data, div.layout]) : asDrawn(div);
    copy.className = "figure";
    delete copy.dataset.drawn;
    delete shownNow[1].updatemenus;
    div.replaceWith(copy);
    draw(copy, shownNow);
    return [div, copy];
  };
  const prepare = () => {
    if (unprinted) return;
    const folded = [...document.querySelectorAll("details:not([open])")], theme = root.dataset.theme;
    folded.forEach((part) => { part.open = true; });
    root.dataset.printed = "yes";
    root.dataset.theme = "light";
    const copies = [...document.querySelectorAll(".figure")].map(printCopy);
    unprinted = () => {
      delete root.dataset.printed;
      folded.forEach((part) => { part.open = false; });
      for (const [div, copy] of copies) {
        drawn.delete(copy);
        Plotly.purge(copy);
        copy.replaceWith(div);
      }
      setTheme(theme);
      unprinted = null;
    };
  };
  addEventListener("beforeprint", prepare);
  addEventListener("afterprint", () => { if (unprinted) unprinted(); });

  setTheme(kept("theme") || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", (event) => { if (!kept("theme")) setTheme(event.matches ? "dark" : "light"); });
  watchFigures(document);
  root.dataset.ready = "yes";
  return { shown, drawn, redraw, watchFigures, filter, tellBrush };
})();
