// Comfort only: everything on this page can be read and reached without it.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const find = (id) => document.getElementById(id);

  // What is linked to opens, with whatever it is folded into.
  // An address may name an image, too: #image=api.
  const named = (hash) => {
    let text = hash;
    try { text = decodeURIComponent(hash); } catch { /* Half an escape stands for itself. */ }
    const [kind, ...rest] = text.split("=");
    const name = rest.join("=");
    return find(text) || find(`${kind}-${name}`)
      || (kind === "image" && all(".image").find((image) => image.querySelector(".name").textContent === name));
  };
  const open = (hash) => {
    const target = hash && named(hash);
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

  // In the pictures: one stop for the tab key, then the arrow keys go to what is nearest in their direction.
  const directions = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  const middle = (link) => {
    const box = link.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const nearest = (links, from, [right, down]) => {
    const [x, y] = middle(from);
    let best, least = Infinity;
    for (const link of links) {
      const [dx, dy] = [middle(link)[0] - x, middle(link)[1] - y];
      const along = dx * right + dy * down, aside = Math.abs(dx * down) + Math.abs(dy * right);
      const distance = along + 3 * aside;
      if (link !== from && along > 1 && distance < least) [best, least] = [link, distance];
    }
    return best;
  };
  for (const picture of all(".timeline, .graph")) {
    const links = all("a", picture);
    if (!links.length) continue;
    let current = links.find((link) => link.matches(".s-failed")) || links[0];
    current.setAttribute("tabindex", "0");
    picture.addEventListener("keydown", (event) => {
      if (!links.includes(document.activeElement)) return;
      const ends = { Home: links[0], End: links[links.length - 1], Escape: picture };
      const direction = directions[event.key];
      const next = direction ? nearest(links, current, direction) : ends[event.key];
      if (!next) return;
      event.preventDefault();
      next.focus();
      if (next === picture) return;
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    picture.addEventListener("focusin", (event) => {
      const link = event.target.closest("a");
      if (!link) return;
      current.setAttribute("tabindex", "-1");
      current = link;
      current.setAttribute("tabindex", "0");
    });
  }
  // What failed is in view from the start.
  for (const graph of all(".graph")) {
    const failed = graph.querySelector(".node.s-failed:not(.external)") || graph.querySelector(".node.s-failed");
    if (!failed) continue;
    const [frame, node] = [graph.getBoundingClientRect(), failed.getBoundingClientRect()];
    if (node.bottom > frame.bottom) graph.scrollTop += node.top - frame.top - graph.clientHeight / 2;
    if (node.right > frame.right) graph.scrollLeft += node.left - frame.left - graph.clientWidth / 2;
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
