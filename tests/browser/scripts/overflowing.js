// Elements that reach out of the window, and are in no region that scrolls by itself.
const wide = document.documentElement.clientWidth + 1;
return [...document.querySelectorAll("body *")]
  .filter((e) => e.getBoundingClientRect().right > wide)
  .filter((e) => !e.closest(".scroll") && !e.closest("svg"))
  .map((e) => e.tagName + "." + e.className);
