// Controls that a reader of the screen has no name for.
return [...document.querySelectorAll("button, a[href], input, select, [tabindex]")]
  .filter((e) => !e.textContent.trim() && !e.getAttribute("aria-label"))
  .filter((e) => !(e.labels && e.labels.length))
  .map((e) => e.outerHTML.slice(0, 80));
