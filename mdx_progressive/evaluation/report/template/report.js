"use strict";

/* Sorting: a heading sorts its column upwards, then downwards; what has no value stays at the end. */
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const collator = new Intl.Collator(undefined, { numeric: true });
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const order = heading.ariaSort === "ascending" ? "descending" : "ascending";
      for (const other of headings) other.ariaSort = other === heading ? order : "none";
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const numbers = body.rows.length > 0 && "value" in body.rows[0].cells[column].dataset;
      const compare = (one, other) => {
        if (!numbers) return sign * collator.compare(key(one), key(other));
        const [a, b] = [parseFloat(key(one)), parseFloat(key(other))];
        return Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

/* A table that is wider than its box says so, and shades the side where there is more. */
for (const box of document.querySelectorAll(".scroll")) {
  const frame = box.parentElement;
  const cue = frame.parentElement.querySelector(".cue");
  const look = () => {
    const hidden = box.scrollWidth - box.clientWidth;
    cue.hidden = hidden <= 1;
    frame.classList.toggle("more", hidden - box.scrollLeft > 1);
  };
  box.addEventListener("scroll", look);
  new ResizeObserver(look).observe(box);
}

/* The legend: a method is taken out of all charts, or comes back. */
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.ariaPressed !== "true";
    button.ariaPressed = String(shown);
    for (const part of document.querySelectorAll(`svg .m${button.dataset.method}`)) part.classList.toggle("off", !shown);
  });
}

/* All clips of a player run at once and in step, and all but one are mute: so switching has no gap. */
let context = null;
const decoded = new Map();

function sound(key) {
  if (!decoded.has(key)) {
    const text = atob(document.getElementById(`sound-${key}`).textContent);
    decoded.set(key, context.decodeAudioData(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer));
  }
  return decoded.get(key);
}

class Player {
  static current = null;

  constructor(section) {
    this.section = section;
    this.seconds = parseFloat(section.dataset.seconds);
    this.inputs = [...section.querySelectorAll(".clips input")];
    this.button = section.querySelector(".play");
    this.slider = section.querySelector(".position");
    this.source = section.querySelector("h3").textContent;
    this.position = 0;
    this.playing = false;
    this.voices = [];
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(parseFloat(this.slider.value)));
    section.addEventListener("keydown", (event) => this.key(event));
    for (const [number, input] of this.inputs.entries()) {
      input.addEventListener("change", () => this.choose(number));
      const picture = input.parentElement.querySelector(".picture");
      picture.addEventListener("click", (event) => {
        const box = picture.getBoundingClientRect();
        this.seek(((event.clientX - box.left) / box.width) * this.seconds);
      });
    }
  }

  get chosen() {
    return this.inputs.findIndex((input) => input.checked);
  }

  get now() {
    return this.voices.length ? Math.max(context.currentTime - this.began, 0) % this.seconds : this.position;
  }

  toggle() {
    return this.playing ? this.stop() : this.play();
  }

  async play() {
    if (Player.current !== this) {
      Player.current?.stop();
      decoded.clear(); // A player's clips are tens of megabytes when decoded: only one's are kept.
      Player.current = this;
    }
    this.playing = true;
    this.show();
    try {
      context ??= new AudioContext();
      await context.resume();
      const buffers = await Promise.all(this.inputs.map((input) => sound(input.value)));
      if (this.playing && !this.voices.length) this.start(buffers);
    } catch (error) {
      this.stop();
      this.section.querySelector(".status").textContent = `This browser can't play the sound: ${error.message}`;
    }
  }

  start(buffers) {
    this.seconds = Math.min(...buffers.map((buffer) => buffer.duration));
    const when = context.currentTime + 0.02;
    this.voices = buffers.map((buffer, number) => {
      const voice = new AudioBufferSourceNode(context, { buffer, loop: true, loopEnd: this.seconds });
      const gain = new GainNode(context, { gain: number === this.chosen ? 1 : 0 });
      voice.connect(gain).connect(context.destination);
      voice.start(when, this.position);
      return { voice, gain: gain.gain };
    });
    this.began = when - this.position;
    this.frame();
  }

  silence() {
    this.position = this.now;
    for (const { voice } of this.voices) voice.stop();
    this.voices = [];
  }

  stop() {
    this.silence();
    this.playing = false;
    this.show();
  }

  seek(seconds) {
    const going = this.voices.length > 0;
    this.silence();
    this.position = Math.min(Math.max(seconds, 0), Math.max(this.seconds - 0.05, 0));
    if (going) this.play();
    this.show();
  }

  choose(number) {
    const count = this.inputs.length;
    const input = this.inputs[(number + count) % count];
    if (this.inputs.includes(document.activeElement)) input.focus();
    input.checked = true;
    this.voices.forEach(({ gain }, place) => gain.setTargetAtTime(place === this.chosen ? 1 : 0, context.currentTime, 0.004));
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " ") {
      if (event.target === this.button) return; // It plays by itself.
      this.toggle();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.seek(this.now + (event.key === "ArrowRight" ? 1 : -1));
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      this.choose(this.chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key >= "1" && event.key <= String(Math.min(9, this.inputs.length))) {
      this.choose(Number(event.key) - 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  frame() {
    if (!this.voices.length) return;
    this.show();
    requestAnimationFrame(() => this.frame());
  }

  show() {
    const now = this.now;
    this.section.classList.toggle("playing", this.playing);
    this.section.style.setProperty("--at", now / this.seconds);
    this.button.ariaLabel = `${this.playing ? "Pause" : "Play"} ${this.source}`;
    this.slider.value = now;
    this.slider.setAttribute("aria-valuetext", `${now.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
    this.section.querySelector("output").textContent = `${now.toFixed(1)} s`;
  }
}

for (const section of document.querySelectorAll(".player")) new Player(section);
