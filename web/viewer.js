// Moves the parts of every viewer (viewer.py), also of those that come later: one set of listeners for the page.
(() => {
  const clamp = (value) => Math.min(1, Math.max(0, value));

  // The same place of all pictures is shown in all panes: --x and --y are background positions, 0 to 1.
  function pan(pane, dx, dy) {
    const closer = pane.closest(".closer"), viewer = pane.closest(".viewer");
    const zoom = Number(closer.style.getPropertyValue("--zoom"));
    for (const [axis, moved, side, seen] of [["x", dx, "w", pane.clientWidth], ["y", dy, "h", pane.clientHeight]]) {
      const hidden = viewer.style.getPropertyValue("--" + side) * zoom - seen;
      const at = hidden > 0 ? Number(closer.style.getPropertyValue("--" + axis)) - moved / hidden : 0.5;
      closer.style.setProperty("--" + axis, clamp(at));
    }
  }

  document.addEventListener("input", (event) => {
    const compare = event.target.closest(".viewer .compare"), closer = event.target.closest(".viewer .closer");
    if (compare) compare.style.setProperty("--at", event.target.value);
    if (closer) {
      closer.style.setProperty("--zoom", event.target.value);
      closer.querySelector("output").textContent = event.target.value + "×";
    }
  });

  document.addEventListener("change", (event) => {
    const pair = event.target.closest(".viewer .pairs input");
    if (!pair) return;
    const compare = pair.closest(".viewer").querySelector(".compare");
    const layers = [...compare.querySelectorAll(".layer")];
    for (const side of ["left", "right"]) {
      layers.forEach((layer, number) => layer.classList.toggle(side, number === Number(pair.dataset[side])));
      compare.querySelector(".tag." + side).textContent = layers[pair.dataset[side]].alt;
    }
  });

  document.addEventListener("pointerdown", (event) => {
    const pane = event.target.closest(".viewer .pane");
    if (!pane) return;
    pane.setPointerCapture(event.pointerId);
    const follow = (move) => pan(pane, move.movementX, move.movementY);
    pane.addEventListener("pointermove", follow);
    for (const end of ["pointerup", "pointercancel"])
      pane.addEventListener(end, () => pane.removeEventListener("pointermove", follow), { once: true });
  });

  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [32, 0], ArrowRight: [-32, 0], ArrowUp: [0, 32], ArrowDown: [0, -32] }[event.key];
    const pane = event.target.closest?.(".viewer .pane");
    if (!pane || !step) return;
    event.preventDefault();
    pan(pane, ...step);
  });
})();
