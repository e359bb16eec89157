"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const video = document.getElementById("player"), boxes = document.getElementById("boxes");
  const readout = document.getElementById("readout"), trouble = document.getElementById("trouble");
  const lanes = [...document.querySelectorAll(".lane > svg")];
  const shots = [...document.querySelectorAll(".crops button")];
  const SVG = "http://www.w3.org/2000/svg";
  let now = data.start, plays = false, wanted = null;

  const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;
  const level = (p) => (p > data.high ? "forged" : p < data.low ? "real" : "unsure");
  const words = { forged: "looks forged", real: "no sign", unsure: "undecided" };

  function nearest(track, t) {
    let best = null;
    for (const frame of track.frames) if (best === null || Math.abs(frame[0] - t) < Math.abs(best[0] - t)) best = frame;
    return best && Math.abs(best[0] - t) <= data.reach ? best : null;
  }

  function placeOf(track, t) {
    const after = track.frames.findIndex((frame) => frame[0] > t);
    const a = track.frames[after < 0 ? track.frames.length - 1 : after - 1], b = after < 0 ? null : track.frames[after];
    if (a && b && b[0] - a[0] <= data.bridge) {
      const mix = (t - a[0]) / (b[0] - a[0]);
      return [1, 2, 3, 4].map((i) => a[i] * (1 - mix) + b[i] * mix);
    }
    const close = nearest(track, t);
    return close && close.slice(1, 5);
  }

  // The stream that is shown: the browser chooses by itself, and its size is all that it says.
  function shown() {
    const first = data.streams[0] || [null, data.width, data.height];
    if (!plays || !video.videoWidth || data.streams.length < 2) return first;
    return data.streams.find((one) => one[1] === video.videoWidth && one[2] === video.videoHeight) || first;
  }

  function drawBoxes(t) {
    if (!boxes) return;
    const wide = plays && video.videoWidth ? video.videoWidth : data.width, high = plays && video.videoHeight ? video.videoHeight : data.height;
    const [stream, ownWide, ownHigh] = shown();
    boxes.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    boxes.replaceChildren();
    for (const track of data.tracks) {
      if (stream !== null && track.stream !== stream) continue;
      const box = placeOf(track, t), frame = nearest(track, t);
      if (!box) continue;
      const [x0, y0, x1, y1] = box.map((v, i) => (i % 2 ? (v * high) / ownHigh : (v * wide) / ownWide));
      const group = document.createElementNS(SVG, "g"), rect = document.createElementNS(SVG, "rect"), text = document.createElementNS(SVG, "text");
      group.setAttribute("class", frame ? level(frame[5]) : "");
      group.dataset.face = track.track;
      for (const [key, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) rect.setAttribute(key, value);
      const unit = Math.max(wide / Math.max(boxes.clientWidth, 1), high / Math.max(boxes.clientHeight, 1));
      text.setAttribute("y", Math.max(y0 - 7 * unit, 16 * unit));
      text.style.fontSize = `${15 * unit}px`;
      text.style.strokeWidth = `${4 * unit}px`;
      const label = boxes.clientWidth < 560 ? "" : frame && `, ${words[level(frame[5])]}`;
      text.textContent = frame ? `${track.name}: ${frame[5].toFixed(2)}${label}` : track.name;
      group.append(rect, text);
      boxes.append(group);
      text.setAttribute("x", Math.max(0, Math.min(x0, wide - 4 * unit - text.getComputedTextLength())));
    }
  }

  function scores(t) {
    const shown = data.tracks.map((track) => [track.name, nearest(track, t)]).filter(([, frame]) => frame);
    return shown.map(([n, frame]) => `${n} ${frame[5].toFixed(2)} (${words[level(frame[5])]})`).join(", ") || "no score here";
  }

  // What a picture beside the score shows at a time: marked parts, and each curve in percent of its height.
  function drawn(picture, t) {
    const parts = picture.parts.filter(([from, to]) => from <= t && t <= to).map((part) => part[2]);
    const curves = picture.curves.map(([name, times, values]) => {
      let best = -1;
      for (let i = 0; i < times.length; i++) if (best < 0 || Math.abs(times[i] - t) < Math.abs(times[best] - t)) best = i;
      const value = best < 0 || Math.abs(times[best] - t) > data.reach ? null : values[best];
      return value === null ? null : `${name} ${value} %`;
    });
    return [...parts, ...curves.filter(Boolean)].join(", ") || "nothing here";
  }

  function show(t) {
    now = Math.min(Math.max(t, data.start), data.end);
    const at = `${(100 * (now - data.start)) / (data.end - data.start)}%`;
    for (const lane of lanes) {
      for (const name of ["x1", "x2"]) lane.querySelector(".cursor").setAttribute(name, at);
      lane.querySelector(".cursor-head").setAttribute("cx", at);
      const track = data.tracks.find((one) => String(one.track) === lane.dataset.face), frame = track && nearest(track, now);
      lane.setAttribute("aria-valuenow", now.toFixed(1));
      const picture = data.lanes[lane.dataset.lane];
      if (picture) lane.setAttribute("aria-valuetext", `${clock(now)}, ${drawn(picture, now)}`);
      else lane.setAttribute("aria-valuetext", `${clock(now)}, ${frame ? `${frame[5].toFixed(2)}, ${words[level(frame[5])]}` : "no score here"}`);
    }
    if (readout) readout.textContent = `${clock(now)} of ${clock(data.end)}: ${scores(now)}`;
    let nearestShot = null;
    for (const shot of shots) if (Math.abs(shot.dataset.time - now) < 0.06) nearestShot = shot;
    for (const shot of shots) shot.classList.toggle("current", shot === nearestShot);
    drawBoxes(now);
  }

  function seek(t) {
    t = Math.min(Math.max(t, data.start), data.end);
    if (plays) {
      wanted = t;
      video.currentTime = Math.min(t, Math.max((video.duration || t) - 0.001, 0));
    }
    show(t);
  }

  function step(track, by) {
    const there = now + by;
    const ahead = track.frames.map((frame) => frame[0]).filter((t) => (by > 0 ? t > now + 0.01 : t < now - 0.01));
    if (nearest(track, there) || !ahead.length) seek(there);
    else seek(by > 0 ? ahead[0] : ahead[ahead.length - 1]);
  }

  function jump(track, forward) {
    const marks = track.marks.filter((t) => (forward ? t > now + 0.05 : t < now - 0.05));
    if (marks.length) seek(forward ? marks[0] : marks[marks.length - 1]);
  }

  for (const lane of lanes) {
    const track = data.tracks.find((one) => String(one.track) === lane.dataset.face) || { marks: (data.lanes[lane.dataset.lane] || { parts: [] }).parts.map((part) => part[0]), frames: [] };
    const at = (event) => {
      const box = lane.getBoundingClientRect();
      seek(data.start + ((data.end - data.start) * (event.clientX - box.left)) / box.width);
    };
    lane.addEventListener("pointerdown", (event) => { if (event.button === 0) { lane.setPointerCapture(event.pointerId); at(event); } });
    lane.addEventListener("pointermove", (event) => { if (lane.hasPointerCapture(event.pointerId)) at(event); });
    lane.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: data.step, ArrowUp: data.step, ArrowLeft: -data.step, ArrowDown: -data.step };
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key in steps) step(track, steps[event.key] * (event.shiftKey ? 5 : 1));
      else if (event.key === "Home") seek(data.start);
      else if (event.key === "End") seek(data.end);
      else if (event.key === "PageDown" || event.key === "PageUp") jump(track, event.key === "PageDown");
      else if (event.key === " " && plays) video.paused ? video.play() : video.pause();
      else return;
      event.preventDefault();
    });
  }
  for (const button of document.querySelectorAll("button[data-time]")) {
    button.addEventListener("click", () => {
      seek(Number(button.dataset.time));
      if (video) document.getElementById("stage").scrollIntoView({ block: "nearest" });
    });
  }

  if (video) {
    const failed = () => {
      plays = false;
      trouble.hidden = false;
    };
    const follow = () => {
      if (wanted !== null && video.seeking) return;
      wanted = null;
      show(video.currentTime);
    };
    video.addEventListener("loadedmetadata", () => {
      if (!video.videoWidth) return failed();
      plays = true;
      trouble.hidden = true;
      if (now > data.start) seek(now);
      drawBoxes(now);
    });
    video.addEventListener("error", failed);
    for (const source of video.querySelectorAll("source")) source.addEventListener("error", failed);
    for (const name of ["timeupdate", "seeked"]) video.addEventListener(name, follow);
    if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
      const each = (_, frame) => {
        if (!video.paused) show(frame.mediaTime);
        video.requestVideoFrameCallback(each);
      };
      video.requestVideoFrameCallback(each);
    }
    if (video.readyState >= 1 && video.videoWidth) plays = true;
    if (video.error || video.networkState === HTMLMediaElement.NETWORK_NO_SOURCE) failed();
    new ResizeObserver(() => drawBoxes(now)).observe(video);
  }
  show(data.start);
  document.documentElement.dataset.ready = "yes";
})();
