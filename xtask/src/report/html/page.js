// Comfort only: everything on this page can be read and reached without it.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const find = (id) => document.getElementById(id);

  // What is linked to opens, with whatever it is folded into.
  const open = (id) => {
    const target = id && find(decodeURIComponent(id));
    if (!target) return;
    target.hidden = false;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView({ behavior: "instant" });
    const summary = target.querySelector(":scope > summary");
    if (summary) summary.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => open(location.hash.slice(1)));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#'], a[*|href^='#']");
    const address = link && (link.getAttribute("href") || "").slice(1);
    if (address && address === location.hash.slice(1)) open(address);
  });
  open(location.hash.slice(1));

  // The filter of the images.
  const filter = find("filter");
  const images = all("#image-list > details");
  if (filter && images.length > 1) {
    const search = find("search");
    const chips = all("[data-state]", filter);
    const texts = new Map(images.map((image) => [image, image.querySelector("summary").textContent.toLowerCase()]));
    filter.hidden = false;
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const states = chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.dataset.state);
      let shown = 0;
      for (const image of images) {
        const text = texts.get(image);
        const fits = words.every((word) => text.includes(word))
          && (!states.length || states.some((state) => image.classList.contains(state)));
        image.hidden = !fits;
        shown += fits;
      }
      find("nothing").hidden = shown > 0;
      find("hits").textContent = shown === images.length ? "" : `${shown} of ${images.length} shown`;
    };
    search.addEventListener("input", apply);
    for (const chip of chips) chip.addEventListener("click", () => {
      chip.ariaPressed = chip.ariaPressed !== "true";
      apply();
    });
    const unfold = find("unfold");
    unfold.addEventListener("click", () => {
      const isOpen = unfold.ariaPressed !== "true";
      unfold.ariaPressed = isOpen;
      for (const image of images) if (!image.hidden) image.open = isOpen;
    });
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !event.ctrlKey && !event.metaKey && event.target !== search) {
        event.preventDefault();
        search.focus();
        search.scrollIntoView({ block: "center" });
      } else if (event.key === "Escape" && event.target === search) {
        search.value = "";
        apply();
      }
    });
  }

  // In the pictures: one stop for the tab key, then the arrow keys.
  for (const picture of all(".timeline, .graph")) {
    const links = all("a", picture);
    if (!links.length) continue;
    links[0].setAttribute("tabindex", "0");
    picture.addEventListener("keydown", (event) => {
      const at = links.indexOf(document.activeElement);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = at >= 0 && step && links[at + step];
      if (!next) return;
      event.preventDefault();
      links[at].setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }

  // What an image needs, and what needs it.
  for (const graph of all(".graph")) {
    const lines = all(".line", graph);
    const nodes = new Map(all("[data-node]", graph).map((node) => [node.dataset.node, node]));
    const trace = (number) => {
      for (const near of all(".near", graph)) near.classList.remove("near");
      graph.classList.toggle("tracing", number !== undefined);
      if (number === undefined) return;
      const follow = (from, to, seen) => {
        if (seen.has(number)) return;
        const next = [number];
        while (next.length) {
          const at = next.pop();
          if (seen.has(at)) continue;
          seen.add(at);
          if (nodes.has(at)) nodes.get(at).classList.add("near");
          for (const line of lines) if (line.dataset[from] === at) {
            line.classList.add("near");
            next.push(line.dataset[to]);
          }
        }
      };
      follow("from", "to", new Set());
      follow("to", "from", new Set());
    };
    for (const [number, node] of nodes) {
      for (const kind of ["mouseenter", "focus"]) node.addEventListener(kind, () => trace(number));
      for (const kind of ["mouseleave", "blur"]) node.addEventListener(kind, () => trace(undefined));
    }
  }

  addEventListener("beforeprint", () => { for (const details of all("details")) details.open = true; });
})();
