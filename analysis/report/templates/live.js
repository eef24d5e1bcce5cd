// The live page: asks what is new, and replaces that alone. Zoom, marks, filters and what is folded stay.
(() => {
  const live = document.querySelector("[data-live]");

  const replaceSection = (id, { html, empty }) => {
    const section = document.getElementById(id), made = document.createElement("template");
    made.innerHTML = html;
    for (const div of section.querySelectorAll(".figure[data-drawn]")) {
      const place = made.content.getElementById(div.id);
      if (!place) { page.drawn.delete(div); continue; }
      div.style.height = place.style.height;
      place.replaceWith(div);
    }
    for (const old of section.querySelectorAll("details[open], input[data-kind]")) {
      const same = made.content.getElementById(old.id);
      if (same && old.open) same.open = true;
      if (same && old.checked === false) same.checked = false;
    }
    section.classList.toggle("empty", empty);
    section.replaceChildren(made.content);
    page.watchFigures(section);
  };

  const take = ({ version, parts, gone }) => {
    const changed = new Set(), { figures } = page.shown;
    for (const [key, value] of Object.entries(parts)) {
      const [kind, name, place] = key.split("/");
      if (kind === "trials") page.shown.trials = value;
      if (kind !== "figure") continue;
      figures[name] ||= { data: [], layout: {} };
      if (place === "layout") figures[name].layout = value;
      else figures[name].data[Number(place)] = value;
      changed.add(name);
    }
    for (const key of gone) {
      const [kind, name, place] = key.split("/");
      if (kind !== "figure" || !figures[name]) continue;
      if (place === "layout") { delete figures[name]; continue; }
      figures[name].data.length = Math.min(figures[name].data.length, Number(place));
      changed.add(name);
    }
    for (const [key, value] of Object.entries(parts)) {
      const [kind, name] = key.split("/");
      if (kind === "head") document.getElementById("head").innerHTML = value;
      if (kind === "section") replaceSection(name, value);
    }
    for (const div of page.drawn) if (changed.has(div.id.slice(4)) && div.dataset.drawn) page.redraw(div);
    page.filter();
    page.tellBrush();
    live.dataset.live = version;
  };

  setInterval(async () => {
    const answer = await fetch(`/news?since=${live.dataset.live}`).catch(() => null);
    if (!answer || answer.status !== 200) return;
    const news = await answer.json();
    if (news.reload) location.reload();
    else take(news);
  }, 3000);
})();
