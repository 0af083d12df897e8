"use strict";
(() => {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const on = (node, names, act) => names.split(" ").forEach((name) => node.addEventListener(name, act));

  // Charts: drawn as SVG by Vega's interpreter, which evaluates no code.
  const charts = () => all("[data-chart]").map((place) => {
    const spec = JSON.parse(document.querySelector(`[data-for="${place.id}"]`).textContent);
    return window.vegaEmbed(place, spec, {
      renderer: "svg", ast: true, actions: false, defaultStyle: false,
      tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
    }).catch((error) => { place.textContent = `This chart could not be drawn: ${error.message}`; });
  });
  const drawn = window.vegaEmbed ? Promise.all(charts()) : Promise.resolve();
  drawn.then(() => { document.documentElement.dataset.drawn = "yes"; });

  // Tables: every heading sorts, what has no value stays last.
  const sort = (table, index, header) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    const body = table.tBodies[0];
    const numeric = header.classList.contains("num");
    const rows = Array.from(body.rows).map((row) => [row, row.cells[index].dataset.key]);
    const compare = numeric ? (a, b) => Number(a) - Number(b)
      : (a, b) => a.localeCompare(b, "en", { numeric: true });
    rows.sort(([, a], [, b]) => {
      if (a === "" || b === "") { return (a === "") - (b === ""); }
      return up ? compare(a, b) : compare(b, a);
    });
    all("th[aria-sort]", table.tHead).forEach((one) => one.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows.map(([row]) => row));
  };
  all("table[data-sort]").forEach((table) => {
    Array.from(table.tHead.rows[0].cells).forEach((header, index) => {
      const button = header.querySelector("button");
      if (button) { button.addEventListener("click", () => sort(table, index, header)); }
    });
  });
  all("[data-filter]").forEach((field) => {
    const holder = field.closest(".filter");
    const rows = Array.from(holder.nextElementSibling.querySelector("table").tBodies[0].rows);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      rows.forEach((row, i) => {
        row.hidden = !words.every((word) => texts[i].includes(word));
        left += row.hidden ? 0 : 1;
      });
      holder.querySelector("[data-count]").textContent = words.length ? `${left} of ${rows.length} rows` : "";
    });
  });

  // Pictures of cells: what is pointed at, or reached by arrow keys, is said below.
  const speak = (figure) => {
    const parts = all("[data-tip]", figure);
    const line = figure.querySelector(".tip");
    const say = (part) => {
      parts.forEach((one) => one.classList.toggle("on", one === part));
      line.textContent = part ? part.dataset.tip : line.dataset.hint;
      line.classList.toggle("said", Boolean(part));
    };
    parts.forEach((part) => on(part, "pointerenter click", () => say(part)));
    const holder = figure.querySelector(".scroll");
    if (!holder || !parts.length) { return; }
    let at = -1;
    holder.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) { return; }
      event.preventDefault();
      at = (at + step + parts.length) % parts.length;
      say(parts[at]);
      parts[at].scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    on(holder, "pointerleave blur", () => say(null));
  };
  all("[data-parts]").forEach(speak);

  // Op weights: one slider for all maps.
  all("[data-heats]").forEach((holder) => {
    const data = JSON.parse(holder.querySelector("[data-values]").textContent);
    const slider = holder.querySelector("[data-slider]");
    const output = holder.querySelector("output");
    const play = holder.querySelector("[data-play]");
    const tables = all("table[data-heat]", holder).map((table) => ({
      heat: data.maps[Number(table.dataset.heat)],
      fields: Array.from(table.tBodies[0].rows).map((row) => all("td", row)),
    }));
    const level = (heat, value, of) => {
      const ratio = heat.scale !== "uniform" ? value / heat.end
        : value > 0 ? Math.log2(value * of) / heat.end : -1;
      return Math.round(8 * Math.min(Math.max(ratio, -1), 1));
    };
    const text = (value) => (value === null ? "" : value === 0 ? "0" : Math.abs(value) >= 100 ? value.toFixed(0)
      : Math.abs(value) >= 0.001 ? value.toFixed(3).replace(/^(-?)0\./, "$1.") : value.toExponential(0));
    const show = (index) => {
      tables.forEach(({ heat, fields }) => {
        const chosen = new Set(heat.chosen[index].map(([row, column]) => `${row},${column}`));
        heat.values[index].forEach((row, r) => {
          const of = row.filter((value) => value !== null).length;
          row.forEach((value, c) => {
            const field = fields[r][c];
            field.querySelector("span").textContent = text(value);
            if (value === null) { delete field.dataset.h; } else { field.dataset.h = level(heat, value, of); }
            field.classList.toggle("chosen", chosen.has(`${r},${c}`));
          });
        });
      });
      output.textContent = data.epochs[index];
      slider.setAttribute("aria-valuetext", `epoch ${data.epochs[index]}`);
    };
    slider.addEventListener("input", () => show(Number(slider.value)));
    let timer = 0;
    const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
    play.hidden = data.epochs.length < 3;
    play.addEventListener("click", () => {
      if (timer) { stop(); return; }
      play.textContent = "Stop";
      if (slider.value === slider.max) { slider.value = slider.min; show(0); }
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show(Number(slider.value));
        if (slider.value === slider.max) { stop(); }
      }, 250);
    });
  });

  // Two runs side by side: what differs between them is marked.
  const sides = all("[data-side]");
  const compare = () => {
    const found = sides.map((side) => {
      const slot = document.querySelector(`[data-slot="${side.dataset.side}"]`);
      const kept = side.value === "" ? null : document.querySelector(`template[data-run="${side.value}"]`);
      slot.replaceChildren(...(kept ? [kept.content.cloneNode(true)] : []));
      all("[data-parts]", slot).forEach(speak);
      return new Map(all("[data-label]", slot).map((row) => [row.dataset.label, row]));
    });
    if (!found.every((rows) => rows.size)) { return; }
    const [left, right] = found;
    [[left, right], [right, left]].forEach(([these, others]) => these.forEach((row, label) => {
      const other = others.get(label);
      row.classList.toggle("differs", !other || other.textContent !== row.textContent);
    }));
  };
  sides.forEach((side) => side.addEventListener("change", compare));
  if (sides.length) {
    const body = document.querySelector("#runs table").tBodies[0];
    Array.from(body.rows).forEach((row, index) => {
      const mark = document.createElement("input");
      mark.type = "checkbox";
      mark.value = index;
      mark.setAttribute("aria-label", `compare ${row.cells[0].textContent}`);
      row.cells[0].prepend(mark);
      mark.addEventListener("change", () => {
        const marked = all("input[type=checkbox]", body).filter((one) => one.checked);
        if (mark.checked && marked.length > 2) { marked.find((one) => one !== mark).checked = false; }
        const kept = all("input[type=checkbox]", body).filter((one) => one.checked);
        sides.forEach((side, i) => { side.value = kept[i] ? kept[i].value : ""; });
        compare();
      });
    });
  }

  // Commands: copied where the browser lets a page from the disk do so, else marked to be copied by hand.
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => {
    const code = button.parentElement.querySelector("code");
    const done = (word) => { button.textContent = word; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    const mark = () => { getSelection().selectAllChildren(code); done("Marked"); };
    if (!navigator.clipboard) { mark(); return; }
    navigator.clipboard.writeText(code.textContent).then(() => done("Copied"), mark);
  }));
})();
