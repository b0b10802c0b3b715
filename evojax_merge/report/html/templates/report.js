"use strict";
// The page is whole without this: it adds copying, choosing, filtering, sorting and reading off.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SVG = "http://www.w3.org/2000/svg";

  function make(name, attributes = {}, text = "") {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  }

  // Copying
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const field = make("textarea", { readonly: "", style: "position:fixed;left:-99vw" });
      field.value = text;
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      return done;
    }
  }
  function addCopy(command) {
    const button = make("button", { type: "button", class: "copy" }, "copy");
    button.setAttribute("aria-label", "copy " + command.textContent.trim());
    button.addEventListener("click", async () => {
      button.textContent = (await copy(command.querySelector("code").textContent)) ? "copied" : "select it";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    command.append(button);
  }
  all(".command").forEach(addCopy);

  // Examples
  for (const form of all(".filter")) {
    const examples = all(".example");
    const show = () => {
      const which = form.elements.which.value;
      let shown = 0;
      for (const example of examples) {
        example.hidden = which !== "all" && example.dataset[which] !== "1";
        shown += !example.hidden;
      }
      form.querySelector("output").textContent = `${shown} of ${examples.length} shown`;
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", show);
    show();
  }

  // Sorting
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      if (!head.textContent.trim() || head.textContent === "build it") return;
      const button = make("button", { type: "button", class: "sort" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => {
          const found = parseFloat(row.cells[column].textContent.replace("\u2212", "-"));
          return Number.isNaN(found) ? -Infinity : found;
        };
        const rows = [...body.rows].sort((a, b) => (down ? value(b) - value(a) : value(a) - value(b)));
        body.append(...rows);
      });
    });
  }

  // The front
  for (const figure of all("figure.front")) {
    const panel = figure.querySelector(".chosen");
    const members = all(".member", figure);
    const choose = (number) => {
      const row = document.getElementById("member-" + number);
      if (!row || panel.dataset.member === number) return;
      panel.dataset.member = number;
      const heads = all("thead th", row.closest("table"));
      const scores = [...row.cells].slice(1, -1).map((cell, at) =>
        `${heads[at + 1].textContent} ${cell.firstChild.textContent.trim()}`);
      const title = make("p");
      title.append(make("strong", {}, "Member " + row.cells[0].textContent.trim()));
      title.append(": " + scores.join("; "));
      const command = make("div", { class: "command" });
      command.append(make("code", {}, row.querySelector("code").textContent));
      addCopy(command);
      panel.replaceChildren(title, command);
      for (const one of members) {
        one.classList.toggle("on", one.dataset.member === number);
        one.setAttribute("tabindex", one.dataset.member === number ? "0" : "-1");
      }
      all("tr.on", row.parentElement).forEach((other) => other.classList.remove("on"));
      row.classList.add("on");
    };
    for (const member of members) {
      const number = member.dataset.member;
      for (const event of ["mouseenter", "focus", "click"]) member.addEventListener(event, () => choose(number));
      member.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const own = all(".member", member.ownerSVGElement);
        own[(own.indexOf(member) + step + own.length) % own.length].focus();
      });
    }
    const knee = figure.querySelector(".member.knee");
    if (knee) choose(knee.dataset.member);
  }

  // Curves: the values of all lines where the pointer is
  for (const chart of all("svg.chart[data-x]")) {
    const [left, right, low, high] = chart.dataset.x.split(" ").map(Number);
    const [bottom, top, lowest, highest] = chart.dataset.y.split(" ").map(Number);
    const lines = all("polyline[data-label]", chart).map((line) => ({
      label: line.dataset.label,
      points: line.getAttribute("points").split(" ").filter(Boolean).map((one) => one.split(",").map(Number)),
    })).filter((line) => line.points.length);
    const readout = chart.closest("figure").querySelector(".readout");
    const cursor = document.createElementNS(SVG, "path");
    cursor.setAttribute("class", "cursor");
    chart.append(cursor);
    const digits = Math.max(0, Math.min(5, 2 - Math.floor(Math.log10(Math.max(highest - lowest, 1e-9)))));
    let at = right;
    const show = (x) => {
      at = Math.min(right, Math.max(left, x));
      cursor.setAttribute("d", `M${at} ${top}V${bottom}`);
      const spent = low + ((at - left) / (right - left)) * (high - low);
      const texts = lines.map(({ label, points }) => {
        let near = points[0];
        for (const point of points) if (Math.abs(point[0] - at) < Math.abs(near[0] - at)) near = point;
        const value = lowest + ((near[1] - bottom) / (top - bottom)) * (highest - lowest);
        return `${label} ${value.toFixed(digits)}`;
      });
      readout.textContent = `${chart.dataset.across} ${spent >= 100 ? Math.round(spent) : spent.toPrecision(3)}: ${texts.join("; ")}`;
    };
    const place = (event) => {
      const box = chart.getBoundingClientRect();
      show(((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width);
    };
    chart.addEventListener("pointermove", place);
    chart.addEventListener("pointerdown", place);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(at + (step * (right - left)) / 50);
    });
    const clear = () => { cursor.removeAttribute("d"); readout.textContent = ""; };
    chart.addEventListener("pointerleave", clear);
    chart.addEventListener("blur", clear);
  }
})();
