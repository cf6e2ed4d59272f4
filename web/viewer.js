// Behaviour of every viewer (viewer.py). Listeners are on the document, so viewers added later work too.
(() => {
  const clamp = (value) => Math.min(1, Math.max(0, value));

  // All panes show the same region: --x and --y are background positions, 0 to 1.
  function pan(pane, dx, dy) {
    const detail = pane.closest(".detail"), viewer = pane.closest(".viewer");
    const zoom = Number(detail.style.getPropertyValue("--zoom"));
    for (const [axis, delta, side, visible] of [["x", dx, "w", pane.clientWidth], ["y", dy, "h", pane.clientHeight]]) {
      const hidden = viewer.style.getPropertyValue("--" + side) * zoom - visible;
      const at = hidden > 0 ? Number(detail.style.getPropertyValue("--" + axis)) - delta / hidden : 0.5;
      detail.style.setProperty("--" + axis, clamp(at));
    }
  }

  document.addEventListener("input", (event) => {
    const compare = event.target.closest(".viewer .compare"), detail = event.target.closest(".viewer .detail");
    if (compare) compare.style.setProperty("--at", event.target.value);
    if (detail) {
      detail.style.setProperty("--zoom", event.target.value);
      detail.querySelector("output").textContent = event.target.value + "×";
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
