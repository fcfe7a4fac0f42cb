// The face of the page: controls to a state, the state to the address, the plan of the state to words and pictures.
"use strict";
(() => {
  const root = document.getElementById("explore-page");
  const data = JSON.parse(document.getElementById("explore-data").textContent), words = data.texts;
  const { log10, min, max, round } = Math;
  const field = (name) => root.querySelector(`[name=${name}]`);
  const say = (text, values = {}) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

  // --- numbers as the planner's screens write them ---

  const trimmed = (value, digits) => Number(value.toPrecision(digits)).toString();
  const LETTERS = [[1e15, "Q"], [1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"], [1, ""]];
  const count = (value, digits = 3) => {
    if (value === Infinity) return words.unbounded;
    const [unit, letter] = LETTERS.find(([u]) => Number(value.toPrecision(digits)) >= u) ?? LETTERS.at(-1);
    return trimmed(value / unit, digits) + letter;
  };
  const flopsText = (value, digits = 3) => {
    const power = Math.floor(log10(value) + 1e-12);
    return `${trimmed(value / 10 ** power, digits)}e${power}`;
  };
  const TIMES = [[31557600, "years"], [86400, "days"], [3600, "hours_"], [60, "minutes"], [1, "seconds"]];
  const time = (seconds) => {
    const [unit, name] = TIMES.find(([u]) => seconds >= 2 * u || u === 1);
    return `${seconds / unit >= 1e4 ? count(seconds / unit, 2) : trimmed(seconds / unit, 2)} ${words[name]}`;
  };
  const dollars = (value) => `$${count(value, 2)}`;
  const percent = (share) => `${trimmed(100 * share, 2)} %`;
  const ends = (pair, form) => say(words.range, { low: pair[0] ? form(pair[0]) : "0", high: form(pair[1]) });
  const lossText = (loss) => (loss === Infinity ? words.unbounded : loss.toFixed(4));

  // --- the state and its address ---

  const KEYS = { flops: "flops", law: "lawName", hardware: "accelerator", count: "nAccelerators",
                 price: "pricePerHour", mfu: "mfu", served: "servedTokens" };
  const LIMITS = { flops: [1e15, 1e30], nAccelerators: [1, 1e7], pricePerHour: [0.001, 1e5], mfu: [0.001, 1], servedTokens: [1, 1e20] };
  const SUFFIXES = { k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12, q: 1e15 };
  const FLOPS = { g: 1e9, t: 1e12, p: 1e15, e: 1e18, z: 1e21, y: 1e24 }; // as in 1 ZFLOP
  let state = { ...data.state };

  /** A number as people write it: 1e21, 2T, 40 %; null for nothing, NaN for what is none. A comma parts thousands, as in
   * 1,000: anywhere else it may be a decimal sign, and 1,5 must not be read as 15. */
  function number(text) {
    const parted = /^\s*\d{1,3}(,\d{3})+(?![\d,])/.test(text);
    const bare = text.trim().toLowerCase().replace(parted ? /[\s,_]/g : /[\s_]/g, "");
    if (!bare) return null;
    const compute = /^(\d*\.?\d+(?:e[+-]?\d+)?)([gtpezy]?)flops?$/.exec(bare);
    if (compute) return Number(compute[1]) * (FLOPS[compute[2]] ?? 1);
    const match = /^(\d*\.?\d+(?:e[+-]?\d+)?)([kmbgtq%]?)$/.exec(bare);
    if (!match) return NaN;
    return match[2] === "%" ? Number(match[1]) / 100 : Number(match[1]) * (SUFFIXES[match[2]] ?? 1);
  }

  function fault(name, value) {
    if (value === null) return name === "flops" ? words.needed : "";
    if (Number.isNaN(value) && field(name).value.includes(",")) return words.comma;
    const [low, high] = LIMITS[name];
    if (!(value >= low && value <= high)) return say(words.limits, { low: flopsOrPlain(low), high: flopsOrPlain(high) });
    return name === "nAccelerators" && value !== round(value) ? words.whole : "";
  }
  const flopsOrPlain = (value) => (value >= 1e4 ? flopsText(value) : String(value));

  function readAddress() {
    const told = new URLSearchParams(location.hash.slice(1)), found = { ...data.state }, lost = [];
    if (!Object.keys(KEYS).some((key) => told.has(key))) return; // the address of a section, or none
    for (const [key, name] of Object.entries(KEYS)) {
      if (!told.has(key)) continue;
      const text = told.get(key);
      if (name === "lawName" || name === "accelerator") {
        const known = name === "lawName" ? Planner.lawNamed(data, text) : Planner.acceleratorNamed(data, text);
        if (known) found[name] = text; else lost.push(text);
      }
      else if (!fault(name, number(text))) found[name] = number(text);
    }
    state = found;
    root.querySelector(".link-note").textContent = lost.map((name) => say(words.notHere, { name })).join(" ");
    if (!Planner.canServe(Planner.lawNamed(data, state.lawName))) state.servedTokens = null;
    showState();
    show();
  }

  /** With at most 12 digits, as the command line reads it: 1e20, 5e12, 0.4. */
  const tidy = (value) => {
    const rounded = Number(value.toPrecision(12));
    return value >= 1e6 ? rounded.toExponential().replace("e+", "e") : String(rounded);
  };
  function writeAddress() {
    const told = new URLSearchParams();
    for (const [key, name] of Object.entries(KEYS)) {
      if (state[name] !== null) told.set(key, typeof state[name] === "number" ? tidy(state[name]) : state[name]);
    }
    history.replaceState(null, "", `#${told}`);
  }

  function showState() {
    field("flops").value = flopsOrPlain(Number(state.flops.toPrecision(6)));
    moveSlider();
    field("lawName").value = state.lawName;
    field("accelerator").value = state.accelerator;
    for (const name of ["nAccelerators", "pricePerHour", "mfu", "servedTokens"]) {
      field(name).value = state[name] === null ? "" : flopsOrPlain(state[name]);
    }
    root.querySelectorAll(".fault").forEach((line) => { line.textContent = ""; });
    root.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
    markStale();
    fitControls();
  }

  function moveSlider() {
    field("slider").value = log10(state.flops);
    field("slider").setAttribute("aria-valuetext", `${flopsText(state.flops)} FLOPs`);
  }

  /** What the chosen law and accelerator say where a field is empty, and whether the law can price serving. */
  function fitControls() {
    const law = Planner.lawNamed(data, state.lawName), device = Planner.acceleratorNamed(data, state.accelerator);
    field("servedTokens").disabled = !Planner.canServe(law);
    field("pricePerHour").placeholder = device.priceUsdPerHour ? ends(device.priceUsdPerHour, (p) => p.toFixed(2)) : words.unknown;
    field("mfu").placeholder = ends([device.mfu[0], device.mfu[2]], percent);
    field("nAccelerators").placeholder = words.chosen;
    field("servedTokens").placeholder = Planner.canServe(law) ? words.none : words.notServed;
  }

  function changed(event) {
    const input = event.target, name = input.name;
    if (name === "slider") {
      state.flops = Number((10 ** Number(input.value)).toPrecision(3));
      field("flops").value = flopsText(state.flops);
      field("slider").setAttribute("aria-valuetext", `${flopsText(state.flops)} FLOPs`);
      told("flops", "");
    } else if (name === "lawName" || name === "accelerator") {
      state[name] = input.value;
      if (!Planner.canServe(Planner.lawNamed(data, state.lawName))) { state.servedTokens = null; field("servedTokens").value = ""; }
      fitControls();
    } else {
      const value = number(input.value), wrong = fault(name, value);
      told(name, wrong);
      if (wrong) return;
      state[name] = value;
      if (name === "flops") moveSlider();
    }
    show();
    writeAddress();
  }

  function told(name, wrong) {
    const input = field(name);
    document.getElementById(`explore-${name}-fault`).textContent = wrong;
    if (wrong) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
    markStale();
  }

  /** While a field holds what cannot be planned with, the plan shown is that of before, and says so. */
  function markStale() {
    const stale = root.querySelector("[aria-invalid]") !== null;
    root.classList.toggle("stale", stale);
    root.querySelector(".stale-note").textContent = stale ? words.stale : "";
  }

  // --- the plan in words ---

  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  function command() {
    const own = isOwn(state.lawName) && data.lawCommand, parts = [own ? `${own} && scaling plan` : "scaling plan", `--flops ${tidy(state.flops)}`, `--law ${quoted(data.lawFile ?? "", state.lawName)}`];
    parts.push(`--hardware ${quoted("", (state.nAccelerators === null ? "" : `${state.nAccelerators}x`) + state.accelerator)}`);
    if (state.pricePerHour !== null) parts.push(`--price ${tidy(state.pricePerHour)}`);
    if (state.mfu !== null) parts.push(`--mfu ${tidy(state.mfu)}`);
    if (state.servedTokens !== null) parts.push(`--inference-tokens ${tidy(state.servedTokens)}`);
    return parts.join(" ");
  }
  const isOwn = (name) => data.laws[0].name === name && !data.laws[0].published;
  const quoted = (file, name) => {
    const text = file && isOwn(name) ? file : name;
    return /^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  };

  function show() {
    const plan = Planner.plan(data, state), out = root.querySelector(".said"), rows = root.querySelector("tbody");
    if (plan !== null && (plan.nParams < data.rules.leastModel[0] || plan.nTokens < data.rules.leastModel[1])) {
      out.replaceChildren(element("p", say(words.noModel, { n: count(plan.nParams), d: count(plan.nTokens) }), "first"));
      rows.replaceChildren();
      return;
    }
    if (plan === null) { out.replaceChildren(element("p", words.noAnswer, "first")); rows.replaceChildren(); return; }
    const { intervals, cost, law } = plan;
    const lines = [element("p", say(state.servedTokens ? words.trainAndServe : words.train, { n: count(plan.nParams), d: count(plan.nTokens), flops: flopsText(plan.flops) }), "first")];
    const sure = intervals.level === null ? words.noInterval
      : say(words.interval, { level: tidy(100 * intervals.level), n: ends(intervals.nParams, (v) => count(v, 3)), d: ends(intervals.nTokens, (v) => count(v, 3)) });
    lines.push(element("p", sure));
    if (plan.loss !== null) {
      const range = intervals.loss ? ` (${ends(intervals.loss, lossText)})` : "";
      lines.push(element("p", say(words.loss, { loss: lossText(plan.loss), range, unit: law.lossUnit, corpus: law.corpus || words.ownCorpus })));
    }
    const spent = cost.usd ? (cost.usd[0] === cost.usd[1] ? dollars(cost.usd[0]) : ends(cost.usd, dollars)) : words.noPrice;
    const took = cost.mfu[0] === cost.mfu[2] ? time(cost.seconds[1]) : `${time(cost.seconds[1])} (${ends([cost.seconds[0], cost.seconds[2]], time)})`;
    lines.push(element("p", say(words.cost, { n: cost.nAccelerators.toLocaleString("en-US"), name: state.accelerator, time: took, money: spent })));
    if (plan.beyond !== null && plan.beyond > 1.005) lines.push(element("p", say(words.beyond, { times: count(plan.beyond, 2) }), plan.beyond > 10 ? "caution" : ""));
    if (law.smallestFlops && plan.flops < law.smallestFlops / 1.005) lines.push(element("p", say(words.below, { times: count(law.smallestFlops / plan.flops, 2) }), "caution"));
    if (cost.nAccelerators > data.rules.mostAccelerators) lines.push(element("p", say(words.tooMany, { n: count(data.rules.mostAccelerators) }), "caution"));
    if (cost.seconds[1] > data.rules.endlessSeconds) lines.push(element("p", words.endless, "caution"));
    out.replaceChildren(...lines);
    rows.replaceChildren(...details(plan).map(([name, text]) => {
      const row = element("tr"), head = element("th", name);
      head.scope = "row";
      row.append(head, element("td", text));
      return row;
    }));
    root.querySelector(".command").textContent = command();
    draw(plan);
  }

  function* facts(plan) {
    const { intervals, cost, law } = plan;
    const ratio = intervals.tokensPerParam ? ` (${ends(intervals.tokensPerParam, (v) => count(v, 3))})` : "";
    yield [words.ratio, count(plan.tokensPerParam) + ratio];
    if (plan.others) {
      const o = plan.others;
      yield [say(words.others, { n: o.nPapers }), say(words.othersSay, {
        n: ends(o.nParams, (v) => count(v, 2)), least: count(o.least.nParams, 2), leastName: o.least.name,
        most: count(o.most.nParams, 2), mostName: o.most.name })];
    }
    if (plan.valley) yield [words.asGood, say(words.valley, { n: ends([plan.valley.low, plan.valley.high], (v) => count(v)), worst: percent(plan.valley.worst) })];
    if (plan.smaller) {
      yield [words.smaller, say(words.smallerSays, { n: count(plan.smaller.nParams, 2), d: count(plan.smaller.nTokens, 2),
        extra: percent(plan.smaller.extra), served: count(plan.smaller.breakEven, 2) })];
    }
    if (plan.served) yield [words.served, say(words.servedSays, { flops: flopsText(plan.served.flops), saved: percent(plan.served.saved) })];
    yield [words.hours, say(words.hoursSay, { hours: count(cost.hours[1]), mfu: percent(cost.mfu[1]), goodput: percent(data.rules.goodput) })];
    if (cost.energyKwh) yield [words.energy, `${count(cost.energyKwh[1] * 1e3)}Wh`];
    if (plan.others) yield [words.eachLaw, Planner.answers(data, plan.flops).map((a) => `${a.name} ${count(a.nParams, 2)}`).join(", ")];
    yield [words.lawName, `${law.name}: ${law.formula}; ${Object.entries(law.coefficients).filter(([, v]) => v !== null).map(([k, v]) => `${k} = ${trimmed(v, 4)}`).join(", ")}`];
    yield [words.source, law.source];
    if (intervals.level !== null && law.uncertainty) yield [words.intervalOf, [law.uncertainty.methodText, law.uncertainty.statement].filter(Boolean).join("; ")];
  }
  const details = (plan) => [...facts(plan)];

  // --- pictures: log-log axes of 480 x 340 ---

  const WIDE = 480, HIGH = 340, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 46;
  const NEAR_DECADES = 0.06; // a run within 15 % of a budget stands at its valley
  const NS = "http://www.w3.org/2000/svg";
  function node(tag, attributes, text) {
    const made = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /** Scales, a clip and ticks of a picture whose x is a logarithm, and y one too where `logY`. */
  function axes(svg, [x0, x1], [y0, y1], logY, xName, yName) {
    const x = (v) => LEFT + ((log10(v) - x0) / (x1 - x0)) * (WIDE - LEFT - RIGHT);
    const y = (v) => HIGH - BOTTOM - (((logY ? log10(v) : v) - y0) / (y1 - y0)) * (HIGH - TOP - BOTTOM);
    const parts = [];
    for (let p = Math.ceil(x0); p <= x1; p++) {
      parts.push(node("line", { class: "grid", x1: x(10 ** p), x2: x(10 ** p), y1: TOP, y2: HIGH - BOTTOM }));
      parts.push(node("text", { x: x(10 ** p), y: HIGH - BOTTOM + 16, "text-anchor": "middle" }, count(10 ** p)));
    }
    const step = logY ? 1 : 10 ** Math.floor(log10((y1 - y0) / 2));
    const wide = logY ? 1 : (y1 - y0) / step > 8 ? 5 * step : (y1 - y0) / step > 4 ? 2 * step : step;
    for (let t = Math.ceil(y0 / wide) * wide; t <= y1 + 1e-9; t += wide) {
      const at = logY ? 10 ** t : t;
      parts.push(node("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(at), y2: y(at) }));
      parts.push(node("text", { x: LEFT - 6, y: y(at) + 4, "text-anchor": "end" }, logY ? count(at) : String(Number(t.toFixed(6)))));
    }
    parts.push(node("path", { class: "axis", d: `M${LEFT} ${TOP}V${HIGH - BOTTOM}H${WIDE - RIGHT}` }));
    parts.push(node("text", { x: (LEFT + WIDE) / 2, y: HIGH - 8, "text-anchor": "middle" }, xName));
    parts.push(node("text", { x: 12, y: (TOP + HIGH - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(TOP + HIGH - BOTTOM) / 2})` }, yName));
    const inside = (px, py) => px >= LEFT - 0.5 && px <= WIDE - RIGHT + 0.5 && py >= TOP - 0.5 && py <= HIGH - BOTTOM + 0.5;
    const path = (points) => {
      let d = "", pen = false;
      for (const [a, b] of points) {
        const px = x(a), py = y(b);
        if (!(Number.isFinite(px) && Number.isFinite(py)) || !inside(px, py)) { pen = false; continue; }
        d += `${pen ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`;
        pen = true;
      }
      return d;
    };
    svg.replaceChildren(...parts);
    return { x, y, path, inside };
  }

  const sweep = (low, high, n) => Array.from({ length: n }, (_, i) => 10 ** (low + ((high - low) * i) / (n - 1)));

  function drawMap(plan) {
    const { law } = plan, svg = root.querySelector(".map"), n = log10(plan.nParams), d = log10(plan.nTokens);
    const form = axes(svg, [n - 1.6, n + 1.6], [d - 1.6, d + 1.6], true, words.params, words.tokens);
    const add = (...made) => svg.append(...made);
    if (Planner.hasSurface(law)) {
      for (const decades of [-2, -1, 0, 1, 2]) {
        const best = Planner.optimum(law, plan.flops * 10 ** decades);
        if (!best) continue;
        const points = sweep(n - 1.6, n + 1.6, 240).map((at) => [at, Planner.tokensForLoss(law, at, best.loss)]);
        add(node("path", { class: "contour", d: form.path(points.filter(([, v]) => v !== null)) }));
        const label = points.findLast(([a, b]) => b !== null && form.inside(form.x(a), form.y(b)));
        if (label) add(node("text", { class: "soft", x: form.x(label[0]) - 3, y: form.y(label[1]) - 4, "text-anchor": "end" }, best.loss.toFixed(2)));
      }
    }
    const line = sweep(log10(plan.flops) - 3.4, log10(plan.flops) + 3.4, 160).map((c) => Planner.optimum(law, c)).filter(Boolean);
    add(node("path", { class: "line", d: form.path(line.map((p) => [p.nParams, p.nTokens])) }));
    const product = plan.trainingFlops / 6;
    add(node("path", { class: "budget", d: form.path(sweep(n - 1.6, n + 1.6, 160).map((at) => [at, product / at])) }));
    if (isOwn(law.name)) {
      for (const [rn, rd] of data.runs.filter(([a, b]) => form.inside(form.x(a), form.y(b)))) add(node("circle", { class: "run", cx: form.x(rn), cy: form.y(rd), r: 2.4 }));
    }
    if (plan.intervals.nParams) {
      const [low, high] = [max(plan.intervals.nParams[0], 10 ** (n - 1.59)), min(plan.intervals.nParams[1], 10 ** (n + 1.59))];
      add(node("path", { class: "ends", d: form.path(sweep(log10(low), log10(high), 60).map((at) => [at, product / at])) }));
    }
    add(node("circle", { class: "here", cx: form.x(plan.nParams), cy: form.y(plan.nTokens), r: 6 }));
    svg.setAttribute("aria-label", say(words.mapSays, { n: count(plan.nParams), d: count(plan.nTokens), flops: flopsText(plan.flops) }));
  }

  function drawValleys(plan) {
    const { law } = plan, figure = root.querySelector(".valleys").closest("figure"), svg = root.querySelector(".valleys");
    figure.hidden = !Planner.hasSurface(law);
    root.querySelector(".no-valleys").textContent = figure.hidden ? words.noValleys : "";
    if (figure.hidden) return;
    const n = log10(plan.nParams), budgets = [-1, 0, 1].map((decade) => plan.trainingFlops * 10 ** decade);
    const bests = budgets.map((c) => Planner.optimum(law, c));
    const top = Planner.surfaceLoss(law, bests[0].nParams / 8, budgets[0] / (6 * bests[0].nParams / 8)), least = bests[2].loss;
    const form = axes(svg, [n - 1.6, n + 1.6], [least - 0.08 * (top - least), top], false, words.params, words.lossAxis);
    budgets.forEach((c, i) => {
      const points = sweep(n - 1.6, n + 1.6, 200).map((at) => [at, Planner.surfaceLoss(law, at, c / (6 * at))]);
      svg.append(node("path", { class: i === 1 ? "line" : "contour", d: form.path(points) }));
      svg.append(node("circle", { class: i === 1 && !state.servedTokens ? "here" : "there", cx: form.x(bests[i].nParams), cy: form.y(bests[i].loss), r: i === 1 ? 6 : 4 }));
      svg.append(node("text", { class: "soft", x: form.x(bests[i].nParams), y: form.y(bests[i].loss) + (i === 2 ? -10 : 18), "text-anchor": "middle" }, `${flopsText(c)} FLOPs`));
    });
    if (plan.others) {
      for (const other of Planner.answers(data, plan.flops)) {
        const px = form.x(other.nParams);
        if (!form.inside(px, HIGH - BOTTOM)) continue;
        const tick = node("path", { class: "tick", d: `M${px.toFixed(1)} ${HIGH - BOTTOM}v-9` });
        tick.append(node("title", {}, `${other.name}: ${count(other.nParams)}`));
        svg.append(tick);
      }
    }
    if (isOwn(law.name)) drawRunsAt(svg, form, budgets);
    if (plan.intervals.nParams && !state.servedTokens) {
      const [low, high] = [max(plan.intervals.nParams[0], 10 ** (n - 1.59)), min(plan.intervals.nParams[1], 10 ** (n + 1.59))];
      svg.append(node("path", { class: "ends", d: form.path([[low, bests[1].loss], [high, bests[1].loss]]) }));
    }
    if (state.servedTokens) svg.append(node("circle", { class: "here", cx: form.x(plan.nParams), cy: form.y(plan.loss), r: 6 }));
    svg.setAttribute("aria-label", say(words.valleysSay, { n: count(bests[1].nParams), loss: lossText(bests[1].loss), flops: flopsText(budgets[1]) }));
  }

  /** The losses of runs that spent about one of the three budgets. */
  function drawRunsAt(svg, form, budgets) {
    for (const [rn, rd, loss] of data.runs) {
      if (!budgets.some((c) => Math.abs(log10((6 * rn * rd) / c)) < NEAR_DECADES)) continue;
      const [px, py] = [form.x(rn), form.y(loss)];
      if (form.inside(px, py)) svg.append(node("circle", { class: "run", cx: px, cy: py, r: 2.4 }));
    }
  }

  function draw(plan) { drawMap(plan); drawValleys(plan); }

  // --- begin ---

  /** A law with its paper: "hoffmann (Hoffmann et al. 2022)"; an accelerator by its name. */
  const optionText = (item) => (item.published && item.source ? `${item.name} (${item.source.split(/[,:;]/)[0]})` : item.name);

  async function copyCommand() {
    const code = root.querySelector(".command"), button = root.querySelector(".copy");
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = words.copied; }
    catch { // not allowed here: marked, so that the keys of the system copy it
      getSelection().selectAllChildren(code);
      button.textContent = words.marked;
    }
    setTimeout(() => { button.textContent = words.copy; }, 2000);
  }
  root.querySelector(".copy").addEventListener("click", copyCommand);

  for (const [name, list] of [["lawName", data.laws], ["accelerator", data.accelerators]]) {
    field(name).append(...list.map((item) => { const option = element("option", optionText(item)); option.value = item.name; return option; }));
  }
  root.querySelector("form").addEventListener("input", changed);
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", readAddress);
  root.querySelector(".needs-script").hidden = false;
  showState();
  show();
  readAddress();
})();
