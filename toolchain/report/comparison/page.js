"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const byId = (id) => document.getElementById(id);
  const NARROW_PX = 640;
  // What a sheet of paper has room for, A4 or Letter, between its margins.
  const PAPER_PX = 680;

  // ---- plots: each is drawn when it comes near the window, again when what it shows or its room is another ----

  const chosen = { subject: 0, budget: 0, setting: 0, method: "", scope: "" };
  const plots = {
    latency: () => `latency/${chosen.subject}/${chosen.setting}${chosen.scope}`,
    macs: () => `macs/${chosen.subject}${chosen.scope}`,
    snr: () => `snr/${chosen.subject}/${chosen.budget}`,
    confusion: () => `confusion/${chosen.subject}/${chosen.budget}/${chosen.method}`,
    "confusion-original": () => `confusion/${chosen.subject}/${chosen.budget}/${chosen.method}/original`,
    plan: () => `plan/${chosen.subject}/${chosen.budget}`,
    distribution: () => `distribution/${chosen.subject}/${chosen.budget}/${chosen.setting}`,
  };
  const nothing = {
    latency: "No latency is measured for this choice.",
    distribution: "No latency is measured for this choice.",
    plan: "No layer method has a plan under this budget.",
  };
  const near = new Set();
  // How wide each was when it was drawn.
  const drawn = new Map();
  let printing = false;

  function axis(given) {
    return { gridcolor: "#E6EAEF", linecolor: "#B9C3CF", zeroline: false, ticks: "outside", tickcolor: "#B9C3CF", automargin: true, ...given,
      title: { ...given.title, standoff: 10, font: { size: 13 } } };
  }

  const widthOf = (box) => (printing ? PAPER_PX : box.clientWidth);
  // Where there is no pointer to rest on a plot, its buttons would lie over it.
  const hasButtons = () => !printing && window.innerWidth >= NARROW_PX;

  function layout(figure, width, square) {
    const narrow = width < NARROW_PX;
    const entries = figure.data.filter((trace) => trace.showlegend !== false && trace.type !== "heatmap").length;
    // Below the plot the legend takes room that grows with it.
    const below = narrow && !square && entries > 1 ? 40 + 20 * Math.ceil(entries / 2) : 0;
    const height = figure.layout.height || (square ? Math.min(width, 560) : 480 + below);
    return {
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 12, color: "#16202C" },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 44 : 64, r: 14, t: hasButtons() ? 34 : 10, b: 50 + below },
      hoverlabel: { align: "left", bgcolor: "#FFFFFF", font: { color: "#16202C" } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "#97A3B0", activecolor: "#16202C" },
      legend: below
        ? { orientation: "h", x: 0, xanchor: "left", y: -70 / (height - below - 60), yanchor: "top", entrywidth: 0.48, entrywidthmode: "fraction", maxheight: below, tracegroupgap: 0 }
        : { x: 1.01, y: 1, tracegroupgap: 0 },
      ...figure.layout,
      // Both are said: plotly.js would take a box without a height for the height that is wanted.
      width,
      height,
      xaxis: axis(figure.layout.xaxis),
      yaxis: axis(figure.layout.yaxis),
    };
  }

  // Names of a hundred units do not fit beside each other.
  function thinned(figure, width) {
    const { tickvals, ticktext } = figure.layout.xaxis;
    if (!ticktext) return;
    const step = Math.ceil((tickvals.length * 15) / Math.max(width - 150, 100));
    figure.layout.xaxis.tickvals = tickvals.filter((_, place) => place % step === 0);
    figure.layout.xaxis.ticktext = ticktext.filter((_, place) => place % step === 0);
  }

  function draw(name) {
    const box = byId(`plot-${name}`);
    const place = content.keys[plots[name]()];
    if (place === undefined) {
      drawn.delete(name);
      if (box.data) Plotly.purge(box);
      box.classList.add("empty");
      box.textContent = nothing[name] || "There is nothing to show for this choice.";
      return;
    }
    if (box.classList.contains("empty")) {
      box.classList.remove("empty");
      box.textContent = "";
    }
    // plotly.js writes into what it is given.
    const figure = structuredClone(content.figures[place]);
    for (const trace of figure.data) {
      if (trace.meta === "band" && byId("bands").checked) trace.visible = true;
      for (const bar of ["error_x", "error_y"]) if (trace[bar]) trace[bar].visible = byId("bars").checked;
    }
    const width = widthOf(box);
    thinned(figure, width);
    const settings = {
      displaylogo: false,
      displayModeBar: hasButtons() ? "hover" : false,
      // By name: plotly.js would also offer to send the plot to a server.
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    };
    drawn.set(name, width);
    Plotly.react(box, figure.data, layout(figure, width, box.classList.contains("square")), settings);
  }

  function redraw(names = Object.keys(plots)) {
    for (const name of names) {
      if (near.has(name)) draw(name);
      else byId(`plot-${name}`).dataset.stale = "yes";
    }
  }

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const name = target.id.replace("plot-", "");
        if (!isIntersecting) near.delete(name);
        else {
          near.add(name);
          if (target.dataset.stale) {
            delete target.dataset.stale;
            draw(name);
          }
        }
      }
    },
    { rootMargin: "500px" },
  );

  let resized;
  const ruler = new ResizeObserver(() => {
    clearTimeout(resized);
    // Once, when the window is as wide as it is to be.
    resized = setTimeout(() => {
      if (!printing) redraw([...drawn.keys()].filter((name) => drawn.get(name) !== byId(`plot-${name}`).clientWidth));
    }, 100);
  });

  // On paper everything is there and open: nothing can be brought near, or opened.
  let shut = [];
  window.addEventListener("beforeprint", () => {
    printing = true;
    for (const one of (shut = [...document.querySelectorAll("details:not([open])")])) one.open = true;
    for (const name of Object.keys(plots)) draw(name);
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    for (const one of shut) one.open = false;
    redraw();
  });

  // ---- choices ----

  const selects = Object.fromEntries(["data", "model", "budget", "scope", "setting", "method"].map((name) => [name, byId(`choose-${name}`)]));

  function offer(select, options, wanted) {
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    if (options.some(([value]) => String(value) === String(wanted))) select.value = wanted;
    // Where there is nothing to choose there is no control.
    select.closest("label").hidden = options.length < 2;
  }

  const unique = (values) => [...new Set(values)].map((value) => [value, value]);

  function chooseAgain() {
    const { subjects } = content;
    offer(selects.data, unique(subjects.map((one) => one.data)), selects.data.value);
    const models = subjects.filter((one) => one.data === selects.data.value).map((one) => one.model);
    offer(selects.model, unique(models), selects.model.value);
    chosen.subject = Math.max(0, subjects.findIndex((one) => one.data === selects.data.value && one.model === selects.model.value));
    const subject = subjects[chosen.subject] || { data: "", model: "", budgets: [], methods: [] };
    // The same budget of another model, where it has it.
    const before = selects.budget.selectedOptions[0]?.text;
    offer(selects.budget, subject.budgets.map((words, place) => [place, words]), Math.max(0, subject.budgets.indexOf(before)));
    chosen.budget = Number(selects.budget.value || 0);
    selects.scope.closest("label").hidden = subject.budgets.length < 2;
    chosen.scope = selects.scope.value && subject.budgets.length > 1 ? `/${chosen.budget}` : "";
    offer(selects.setting, content.settings.map((label, place) => [place, label]), selects.setting.value);
    chosen.setting = Number(selects.setting.value || 0);
    const methods = subject.methods[chosen.budget] || [];
    offer(selects.method, unique(methods), methods.includes(chosen.method) ? chosen.method : content.ours);
    chosen.method = selects.method.value;
    byId("name-confusion").textContent = chosen.method;
    byId("controls").hidden = [...byId("controls").querySelectorAll("label")].every((label) => label.hidden);
    const words = subject.budgets.length ? `${subject.model} on ${subject.data}, ${subject.budgets[chosen.budget]}.` : "";
    for (const place of document.querySelectorAll(".chosen")) place.textContent = words;
    for (const place of document.querySelectorAll(".scope")) place.textContent = chosen.scope ? words : "All budgets.";
  }

  for (const name of Object.keys(selects))
    selects[name].addEventListener("change", () => {
      if (name === "method") chosen.method = selects.method.value;
      chooseAgain();
      if (name === "setting") showSetting(chosen.setting);
      redraw({ method: ["confusion", "confusion-original"], setting: ["latency", "distribution"], scope: ["latency", "macs"] }[name]);
    });
  byId("bars").addEventListener("change", () => redraw(["latency", "macs"]));
  byId("bands").addEventListener("change", () => redraw(["snr"]));

  // ---- the table ----

  const table = byId("numbers");
  const body = table.tBodies[0];
  const rows = [...body.rows];

  function sortKey(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    // A number that is not there has no place among numbers.
    return text === "" || cell.classList.contains("number") ? null : text.toLowerCase();
  }

  function compare(one, other) {
    return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
  }

  function sortBy(head) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keyed = rows.map((row) => [sortKey(row.cells[head.cellIndex]), row]);
    // Stable, from the order in which the methods were compared; what is missing comes last either way.
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      return up ? compare(one, other) : compare(other, one);
    });
    body.append(...keyed.map(([, row]) => row));
  }
  for (const head of table.tHead.rows[0].cells) head.querySelector("button").addEventListener("click", () => sortBy(head));

  const filters = [...document.querySelectorAll("[data-filter]")];
  function filter() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = [...row.cells].filter((cell) => !cell.hidden).map((cell) => cell.textContent).join(" ").toLowerCase();
      const fits = words.every((word) => text.includes(word)) && filters.every((one) => !one.value || row.dataset[one.dataset.filter] === one.value);
      row.hidden = !fits;
      shown += fits;
    }
    byId("shown").textContent = `${shown} of ${rows.length} lines`;
  }
  byId("search").addEventListener("input", filter);
  for (const one of filters) one.addEventListener("change", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());

  function showSetting(place) {
    for (const cell of table.querySelectorAll("[data-setting]")) cell.hidden = Number(cell.dataset.setting) !== place;
    if (byId("table-setting")) byId("table-setting").value = place;
    filter();
  }
  byId("table-setting")?.addEventListener("change", (event) => {
    selects.setting.value = event.target.value;
    selects.setting.dispatchEvent(new Event("change"));
  });

  // ---- where a number comes from ----

  const tip = byId("tip");
  function originOf(cell) {
    return content.origins[cell.parentElement.dataset.line][cell.dataset.origin];
  }
  body.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("td[data-origin]");
    tip.hidden = !cell || event.pointerType === "touch";
    if (tip.hidden) return;
    tip.textContent = originOf(cell);
    const at = cell.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(at.left, window.innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${at.bottom + tip.offsetHeight + 8 < window.innerHeight ? at.bottom + 4 : Math.max(8, at.top - tip.offsetHeight - 4)}px`;
  });
  body.addEventListener("pointerleave", () => (tip.hidden = true));
  window.addEventListener("scroll", () => (tip.hidden = true), true);

  body.addEventListener("click", (event) => {
    const cell = event.target.closest("td[data-origin]");
    const whole = event.target.closest("button.origin");
    if (!cell && !whole) return;
    const row = event.target.closest("tr");
    const texts = cell ? [originOf(cell)] : Object.values(content.origins[row.dataset.line]);
    byId("origin-title").textContent = `${row.querySelector("button.origin").textContent}, ${row.dataset.model} on ${row.dataset.data}, ${row.dataset.budget}`;
    byId("origin-text").replaceChildren(
      ...(texts.length ? texts : ["There is no number here: no seed of this model is finished."]).map((text) => {
        const paragraph = document.createElement("p");
        paragraph.textContent = text;
        return paragraph;
      }),
    );
    tip.hidden = true;
    byId("origin").showModal();
  });

  chooseAgain();
  showSetting(chosen.setting);
  for (const name of Object.keys(plots)) {
    byId(`plot-${name}`).dataset.stale = "yes";
    watcher.observe(byId(`plot-${name}`));
    ruler.observe(byId(`plot-${name}`));
  }
})();
