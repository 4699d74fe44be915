// What the page can do beyond being read: sort and filter the table, tell of the points in the plots, change the theme.
"use strict";
(() => {
  const table = document.getElementById("table");
  const rows = [...table.tBodies[0].rows];
  const tip = document.getElementById("tip");
  const TOLD = new Set(
    "name timesteps steps precision graph device cuda_graph against accuracy_a accuracy points p50_a p50 p90 p99 ratio interval marks".split(" "),
  );
  const REACH = { mouse: 12, pen: 16, touch: 28 };

  // ---- the table, sorted

  const MISSING = /^(–|n\/a.*|)$/;
  const text = (cell) => cell.textContent.trim();

  function valueOf(cell) {
    if (cell.classList.contains("number")) return "value" in cell.dataset ? Number(cell.dataset.value) : null;
    return MISSING.test(text(cell)) ? null : text(cell);
  }

  function compared(a, b) {
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  }

  function sortBy(header) {
    const turn = { ascending: "descending", descending: null }[header.ariaSort];
    const direction = turn === undefined ? "ascending" : turn;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    let sorted = rows;
    if (direction) {
      header.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const valued = rows.map((row) => [valueOf(row.cells[header.cellIndex]), row]);
      const known = valued.filter(([value]) => value !== null).sort(([a], [b]) => sign * compared(a, b));
      sorted = [...known, ...valued.filter(([value]) => value === null)].map(([, row]) => row);
    }
    table.tBodies[0].append(...sorted);
  }

  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sortBy(header));
    header.replaceChildren(button);
  }

  // ---- the table, filtered

  const controls = document.querySelector(".filters");
  const find = controls.querySelector("input");
  const choices = [...controls.querySelectorAll("select")];
  const searched = new Map(rows.map((row) => [row, `${row.textContent} ${row.dataset.file}`.toLowerCase()]));

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = choices.filter((select) => select.value);
    for (const row of rows) {
      row.hidden = !(
        words.every((word) => searched.get(row).includes(word)) &&
        chosen.every((select) => row.dataset[select.name] === select.value)
      );
    }
    const shown = rows.filter((row) => !row.hidden).length;
    controls.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
    for (const mark of marks) mark.classList.toggle("out", rowsOf(mark).every((row) => row.hidden));
    plots.forEach(makeReachable);
    tellOf(null);
  }

  controls.addEventListener("input", filter);
  controls.querySelector("button").addEventListener("click", () => {
    for (const control of [find, ...choices]) control.value = "";
    filter();
  });
  controls.hidden = false;

  // ---- the plots: each point knows its row

  const marks = [...document.querySelectorAll("[data-rows]")];
  const owners = new Map(marks.map((mark) => [mark, mark.dataset.rows.split(" ").map((place) => rows[Number(place)])]));
  const rowsOf = (mark) => owners.get(mark);
  const plots = [...document.querySelectorAll(".plot svg")].filter((svg) => svg.querySelector(".point"));
  const pointsOf = (svg) => [...svg.querySelectorAll(".point:not(.out)")];
  const marksOf = new Map(rows.map((row) => [row, []]));
  for (const mark of marks) for (const row of rowsOf(mark)) marksOf.get(row).push(mark);
  let told = null;
  let lit = null;

  const known = new Map();

  function facts(row) {
    if (!known.has(row)) known.set(row, read(row));
    return known.get(row);
  }

  function read(row) {
    const headers = table.tHead.rows[0].cells;
    const found = [...row.cells]
      .filter((cell) => TOLD.has(cell.dataset.key) && text(cell) && text(cell) !== "–")
      .map((cell) => [headers[cell.cellIndex].textContent, text(cell)]);
    return [...found.slice(0, 3), ["engine", row.dataset.backend], ...found.slice(3)];
  }

  function light(row) {
    if (row === lit) return;
    for (const mark of lit ? marksOf.get(lit) : []) mark.classList.remove("lit");
    lit?.classList.remove("lit");
    lit = row;
    row?.classList.add("lit");
    for (const mark of row ? marksOf.get(row) : []) mark.classList.add("lit");
    for (const svg of plots) svg.classList.toggle("lighting", svg.querySelector(".point.lit") !== null);
  }

  function putTip() {
    const point = told.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    // A twin is a line as wide as its plot, and a distribution nearly so: the tip then stands over its middle.
    const right = point.width > 40 ? point.left + point.width / 2 : point.right + 10;
    const left = right + width < innerWidth - 8 ? right : Math.max(8, Math.min(point.left - 10, innerWidth - 8) - width);
    const above = point.top - height - 10;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : Math.min(point.bottom + 10, innerHeight - height - 8)}px`;
  }

  function tellOf(point) {
    if (point === told) return;
    told = point;
    tip.hidden = point === null;
    light(point ? rowsOf(point)[0] : null);
    if (point === null) return;
    const list = document.createElement("dl");
    for (const [name, value] of facts(rowsOf(point)[0])) {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = value;
      list.append(term, description);
    }
    tip.replaceChildren(list);
    putTip();
  }

  function goTo(point) {
    const row = rowsOf(point)[0];
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    tellOf(null);
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center", inline: "nearest", behavior: still ? "auto" : "smooth" });
    light(row);
  }

  function nearest(svg, event) {
    let [found, least] = [null, [REACH[event.pointerType] ?? REACH.mouse, Infinity]];
    for (const point of pointsOf(svg)) {
      const box = point.getBoundingClientRect();
      const beside = Math.hypot(
        Math.max(box.left - event.clientX, 0, event.clientX - box.right),
        Math.max(box.top - event.clientY, 0, event.clientY - box.bottom),
      );
      const off = Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY);
      if (beside < least[0] || (beside === least[0] && off < least[1])) [found, least] = [point, [beside, off]];
    }
    return found;
  }

  // One stop of the Tab key for each plot: the arrow keys go on from there.
  function makeReachable(svg) {
    const points = pointsOf(svg);
    for (const point of svg.querySelectorAll(".point")) point.setAttribute("tabindex", "-1");
    points[0]?.setAttribute("tabindex", "0");
  }

  function step(svg, event) {
    const points = pointsOf(svg);
    const here = points.indexOf(event.target.closest(".point"));
    const there = {
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      Home: 0,
      End: points.length - 1,
    }[event.key];
    if (here < 0 || there === undefined) return;
    event.preventDefault();
    const next = points[(there + points.length) % points.length];
    points[here].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }

  for (const svg of plots) {
    svg.removeAttribute("aria-hidden");
    svg.closest("[role=img]")?.setAttribute("role", "group");
    for (const point of svg.querySelectorAll(".point")) {
      point.setAttribute("role", "link");
      point.setAttribute("aria-label", facts(rowsOf(point)[0]).map((fact) => fact.join(" ")).join(", "));
    }
    makeReachable(svg);
    // Chromium would make an <svg> that listens for the focus a stop of the Tab key.
    const frame = svg.parentElement;
    let [by, before] = ["mouse", null];
    frame.addEventListener("pointerdown", (event) => ([by, before] = [event.pointerType, told]));
    frame.addEventListener("pointermove", (event) => {
      const point = nearest(svg, event);
      frame.style.cursor = point ? "pointer" : "";
      if (event.pointerType !== "touch") tellOf(point);
    });
    frame.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && tellOf(null));
    frame.addEventListener("click", (event) => {
      const point = nearest(svg, { clientX: event.clientX, clientY: event.clientY, pointerType: by });
      // A finger cannot hover: its first tap tells, its second goes there.
      if (by === "touch" && point !== before) tellOf(point);
      else if (point) goTo(point);
    });
    frame.addEventListener("focusin", (event) => tellOf(event.target.closest(".point")));
    frame.addEventListener("focusout", () => tellOf(null));
    frame.addEventListener("keydown", (event) => {
      const point = event.target.closest(".point");
      if (point && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        goTo(point);
      } else step(svg, event);
    });
  }

  const rowAt = (event) => event.target.closest?.("#table tbody tr") ?? null;
  table.addEventListener("pointerover", (event) => light(rowAt(event)));
  table.addEventListener("pointerleave", () => light(null));
  table.addEventListener("focusout", () => light(null));
  document.addEventListener("keydown", (event) => event.key === "Escape" && tellOf(null));
  document.addEventListener("pointerdown", (event) => !event.target.closest?.(".plot") && tellOf(null));
  for (const name of ["scroll", "resize"]) addEventListener(name, () => told && putTip(), { passive: true });

  // ---- the theme, and print

  const dark = document.getElementById("dark");
  const media = { system: dark.media, light: "not all", dark: "screen" };
  const theme = document.getElementById("theme");
  theme.addEventListener("change", () => (dark.media = media[theme.value]));
  for (const control of document.querySelectorAll(".theme, .scripted")) control.hidden = false;

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)));

  filter();
})();
