"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const MAX_CARDS = 12, MAX_LINES = 100, MAX_ROWS = 600, BUCKET_S = 2, PLOT_PX = 56, LOST_MS = 3000, MINUTE_MS = 60000;
  const LEVELS = { "likely forged": "forged", "likely real": "real", inconclusive: "unsure" };
  const element = (id) => document.getElementById(id);
  const canvas = element("picture"), stage = element("stage"), boxes = element("boxes"), pause = element("pause");
  const clock = (s) => {
    const whole = Math.floor(s), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, two = (n) => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
  };
  const level = (p) => (p > data.high ? "forged" : p < data.low ? "real" : "unsure");
  const words = { forged: "looks forged", real: "no sign", unsure: "undecided" };

  const rows = new Map(), persons = new Map(), gaps = [], ages = [];
  let source = null, last = -1, newest = null, spokenAt = 0, heardAt = performance.now(), caughtUp = false;
  let ended = null, paused = false, shownRow = null, bornAt = null, dirty = true, state = "", latency = null;
  const toSay = [];

  function made(name, attributes, text) {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text !== undefined) one.textContent = text;
    return one;
  }

  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  // ---- rows ----

  function note(time_s, text) {
    const line = document.createElement("li"), when = document.createElement("b");
    when.textContent = clock(time_s);
    line.append(when, ` ${text}`);
    element("log").prepend(line);
    while (element("log").children.length > MAX_LINES) element("log").lastChild.remove();
    if (caughtUp) toSay.push(text);
  }

  function takePerson(row, one, seen) {
    let own = persons.get(one.person);
    if (!own) persons.set(one.person, (own = { buckets: new Map(), verdict: "inconclusive", alarmed: false }));
    const name = `Person ${one.person}`;
    if (one.verdict !== own.verdict) note(row.time_s, `${name}: ${one.verdict}.`);
    if (one.is_alarmed && !own.alarmed) note(row.time_s, `${name}: alarm since ${clock(one.alarmed_since_s ?? row.time_s)}.`);
    if (!one.is_alarmed && own.alarmed) note(row.time_s, `${name}: the alarm is over.`);
    Object.assign(own, { verdict: one.verdict, alarmed: one.is_alarmed, last: one, seen });
    if (seen && one.recent !== null) {
      const bucket = Math.floor(row.time_s / BUCKET_S), before = own.buckets.get(bucket);
      own.buckets.set(bucket, { p: Math.max(one.recent, before ? before.p : 0), alarmed: one.is_alarmed || Boolean(before && before.alarmed) });
      for (const old of own.buckets.keys()) if (old < bucket - data.shown_s / BUCKET_S - 1) own.buckets.delete(old);
    }
  }

  function take(number, row) {
    last = number;
    newest = row;
    rows.set(number, row);
    if (rows.size > MAX_ROWS) rows.delete(rows.keys().next().value);
    const seen = new Set(row.faces.map((face) => face.person));
    for (const one of row.persons) takePerson(row, one, seen.has(one.person));
    if (row.kind === "update" && row.latency_ms !== null) {
      latency = row.latency_ms;
      ages.push([performance.now(), latency]);
    }
    while (ages.length && ages[0][0] < performance.now() - MINUTE_MS) ages.shift();
    if (row.kind === "gap") {
      gaps.push(row.time_s);
      if (gaps.length > 100) gaps.shift();
      note(row.time_s, `Nothing came${row.seconds === null ? "" : ` for ${row.seconds.toFixed(1)} s`}${row.reason && row.reason !== "nothing came" ? `: ${row.reason}` : "."}`);
    } else if (row.kind === "notice") note(row.time_s, row.reason || "Something changed.");
    else if (row.kind === "end") {
      ended = row.reason || "the stream is over";
      note(row.time_s, `The watch has ended: ${ended}`);
      source.close();
    }
    dirty = true;
  }

  function connect() {
    source = new EventSource(`events?after=${last}`);
    source.addEventListener("row", (event) => {
      heardAt = performance.now();
      take(Number(event.lastEventId), JSON.parse(event.data));
    });
    source.addEventListener("alive", () => {
      heardAt = performance.now();
      caughtUp = true;
      document.documentElement.dataset.ready = "yes";
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED && ended === null) setTimeout(connect, 2000);
    });
  }

  // ---- the picture ----

  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const age = () => (bornAt === null ? null : performance.now() - bornAt);

  async function follow() {
    for (;;) {
      if (ended !== null) return;
      if (paused || document.hidden) {
        await wait(100);
        continue;
      }
      try {
        const answer = await fetch(`frame.jpg?after=${shownRow === null ? -1 : shownRow}`, { cache: "no-store" });
        if (answer.status === 200) {
          const born = performance.now() - Number(answer.headers.get("X-Age-Ms"));
          await show(await createImageBitmap(await answer.blob()), Number(answer.headers.get("X-Row")), born);
        } else if (answer.status !== 204) await wait(1000);
      } catch {
        await wait(500);
      }
    }
  }

  async function show(picture, number, born) {
    if (!paused && performance.now() - born <= data.old_ms) {
      if (canvas.width !== picture.width || canvas.height !== picture.height) [canvas.width, canvas.height] = [picture.width, picture.height];
      canvas.getContext("2d").drawImage(picture, 0, 0);
      stage.classList.remove("none");
      [shownRow, bornAt] = [number, born];
      drawBoxes();
      tick();
    }
    picture.close();
  }

  function place() {
    const wide = canvas.clientWidth, high = canvas.clientHeight, scale = Math.min(wide / canvas.width, high / canvas.height);
    const own = { width: canvas.width * scale, height: canvas.height * scale };
    boxes.style.left = `${(wide - own.width) / 2}px`;
    boxes.style.top = `${(high - own.height) / 2}px`;
    boxes.style.width = `${own.width}px`;
    boxes.style.height = `${own.height}px`;
    return own.width;
  }

  function drawBoxes() {
    const row = rows.get(shownRow);
    boxes.replaceChildren();
    if (!row || !row.width_px) return;
    const unit = row.width_px / Math.max(place(), 1), roomy = canvas.clientWidth >= 560;
    boxes.setAttribute("viewBox", `0 0 ${row.width_px} ${row.height_px}`);
    for (const face of row.faces) {
      const [x0, y0, x1, y1] = face.box_px, own = face.score === null ? "" : level(face.score);
      const group = made("g", { class: own, "data-person": face.person });
      const label = face.score === null ? "" : `: ${face.score.toFixed(2)}${roomy ? `, ${words[own]}` : ""}`;
      const text = made("text", { y: Math.max(y0 - 7 * unit, 16 * unit), "stroke-width": 4 * unit }, `Person ${face.person}${label}`);
      text.style.fontSize = `${15 * unit}px`;
      group.append(made("rect", { x: x0, y: y0, width: Math.max(x1 - x0, 0), height: Math.max(y1 - y0, 0) }), text);
      boxes.append(group);
      text.setAttribute("x", Math.max(0, Math.min(x0, row.width_px - 4 * unit - text.getComputedTextLength())));
    }
  }

  // ---- persons ----

  function order() {
    const all = [...persons.entries()].map(([number, own]) => ({ number, own, rank: own.alarmed ? 0 : newest.time_s - own.last.last_seen_s < 10 ? 1 : 2 }));
    all.sort((a, b) => (a.rank === 2 && b.rank === 2 ? b.own.last.last_seen_s - a.own.last.last_seen_s : a.rank - b.rank || a.number - b.number));
    return all;
  }

  function cardOf(number) {
    let card = document.querySelector(`.card[data-person="${number}"]`);
    if (card) return card;
    card = document.createElement("li");
    card.dataset.person = number;
    card.className = "card";
    const title = document.createElement("h3");
    for (const name of ["who", "word", "since"]) {
      const part = document.createElement("span");
      part.className = name;
      title.append(part);
    }
    const facts = document.createElement("p"), lane = made("svg", { class: "lane", role: "img" });
    facts.className = "facts";
    card.append(title, facts, lane);
    return card;
  }

  function facts(one) {
    const of = (p, what) => (p === null ? null : `${p.toFixed(2)} ${what}`);
    const scores = [of(one.recent, "in the last 10 s"), of(one.overall, "over all")].filter(Boolean).join(", ");
    const seen = newest.time_s - one.last_seen_s < 2 ? "in the picture" : `last seen at ${clock(one.last_seen_s)}`;
    return `${scores || "No score yet"}; ${one.n_scored} crop${one.n_scored === 1 ? "" : "s"} scored; ${seen}.${one.reason ? ` No verdict: ${one.reason}.` : ""}`;
  }

  function drawLane(lane, own, number) {
    const end = Math.max(newest.time_s, data.shown_s), start = end - data.shown_s, x = (t) => (100 * (t - start)) / data.shown_s;
    const parts = [made("rect", { class: "plot", width: "100%", height: PLOT_PX }), made("rect", { class: "band", y: PLOT_PX * (1 - data.high), width: "100%", height: PLOT_PX * (data.high - data.low) })];
    let highest = null;
    for (const [bucket, { p, alarmed }] of own.buckets) {
      const at = bucket * BUCKET_S;
      if (at + BUCKET_S <= start) continue;
      const from = Math.max(x(at), 0), wide = Math.min(x(at + BUCKET_S), 100) - from, high = Math.max(PLOT_PX * p, 1);
      parts.push(made("rect", { class: `p ${level(p)}`, x: `${from}%`, y: PLOT_PX - high, width: `${wide}%`, height: high }));
      if (alarmed) parts.push(made("rect", { class: "alarm", x: `${from}%`, y: -5, width: `${wide}%`, height: 5 }));
      if (highest === null || p > highest.p) highest = { p, at };
    }
    for (const gap of gaps) if (gap >= start) parts.push(made("line", { class: "gap", x1: `${x(gap)}%`, x2: `${x(gap)}%`, y1: 0, y2: PLOT_PX }));
    parts.push(made("line", { class: "axis", x1: 0, x2: "100%", y1: PLOT_PX, y2: PLOT_PX }));
    for (let t = Math.ceil(start / 60) * 60; t <= end; t += 60) {
      const anchor = x(t) < 3 ? "start" : x(t) > 97 ? "end" : "middle";
      parts.push(made("line", { class: "axis", x1: `${x(t)}%`, x2: `${x(t)}%`, y1: PLOT_PX, y2: PLOT_PX + 6 }), made("text", { x: `${x(t)}%`, y: PLOT_PX + 20, "text-anchor": anchor }, clock(t)));
    }
    lane.setAttribute("aria-label", `Timeline of person ${number}: ${highest ? `highest ${highest.p.toFixed(2)}, at ${clock(highest.at)}` : "no score in it"}`);
    lane.replaceChildren(...parts);
  }

  function drawPersons() {
    const all = order(), shown = all.slice(0, MAX_CARDS), cards = element("cards");
    element("nobody").hidden = all.length > 0;
    const wanted = shown.map(({ number, own }) => {
      const card = cardOf(number), one = own.last, [who, word, since] = card.firstChild.children;
      card.className = `card ${LEVELS[own.verdict] || "none"}`;
      put(who, `Person ${number}`);
      put(word, own.verdict);
      put(since, own.alarmed ? `alarm since ${clock(one.alarmed_since_s ?? one.last_seen_s)}` : "");
      put(card.querySelector(".facts"), facts(one));
      drawLane(card.lastChild, own, number);
      return card;
    });
    if (wanted.length !== cards.children.length || wanted.some((card, i) => card !== cards.children[i])) cards.replaceChildren(...wanted);
    put(element("others"), all.length > shown.length ? `and ${all.length - shown.length} more, seen earlier.` : "");
    for (const { number } of all.slice(100)) persons.delete(number);
  }

  // ---- what goes on ----

  function drawPace() {
    const sorted = ages.map((one) => one[1]).sort((a, b) => a - b), ms = (v) => `${Math.round(v)} ms`;
    put(element("latency"), latency === null ? "none yet" : ms(latency));
    put(element("p95"), sorted.length ? `${ms(sorted[Math.ceil(0.95 * sorted.length) - 1])} or less` : "none");
    const came = newest.frame + 1;
    put(element("drops"), `${newest.n_dropped} of ${came} (${Math.round((100 * newest.n_dropped) / came)} %)`);
    put(element("size"), newest.width_px ? `${newest.width_px} × ${newest.height_px}` : "none yet");
    put(element("at"), `${clock(newest.time_s)} of the stream, ${newest.clock.slice(11, 19)} on the clock`);
  }

  function stateNow() {
    const old = age();
    if (ended !== null) return ["ended", `Ended: ${ended}`];
    if (performance.now() - heardAt > LOST_MS) return ["trouble", "The watch does not answer; this page tries again"];
    if (!caughtUp) return ["wait", "Connecting"];
    if (paused) return ["wait", "Paused: the watch goes on, this page does not"];
    if (old === null) return ["wait", newest && newest.kind === "gap" ? "No picture yet: nothing comes" : "Waiting for the first picture"];
    if (old > data.old_ms) return ["trouble", "No new picture: the stream stalls, or is being connected again"];
    return ["live", "Live"];
  }

  function tick() {
    const [kind, word] = stateNow(), old = age();
    if (word !== state) {
      state = word;
      element("state").className = kind;
      element("state-word").textContent = word;
    }
    const isOld = old !== null && (old > data.old_ms || paused || ended !== null);
    stage.classList.toggle("old", isOld);
    put(element("age"), isOld ? `This picture is ${old < 60000 ? `${(old / 1000).toFixed(0)} s` : clock(old / 1000)} old` : "");
    if (toSay.length && performance.now() - spokenAt > 1000) {
      spokenAt = performance.now();
      element("spoken").textContent = toSay.splice(0).slice(-6).join(" ");
    }
  }

  function draw() {
    if (dirty && newest && !paused) {
      dirty = false;
      drawPace();
      drawPersons();
      if (shownRow !== null) drawBoxes();
    }
  }

  pause.addEventListener("click", () => {
    draw();
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    dirty = true;
    tick();
    draw();
  });
  new ResizeObserver(() => drawBoxes()).observe(canvas);
  setInterval(tick, 100);
  setInterval(draw, 250);
  connect();
  follow();
})();
