// Texts whose contrast with what is behind them is below 4.5, the bound of WCAG 2.2 at level AA.
const rgb = (text) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const over = (top, below) => {
  const share = top[3] / 255;
  return below.map((v, i) => v * (1 - share) + top[i] * share);
};
const behind = (element) => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(rgb(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
};
const found = [];
for (const e of document.querySelectorAll("body *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const style = getComputedStyle(e);
  if (!own || !e.getClientRects().length || ["SCRIPT", "OPTION"].includes(e.tagName)) continue;
  if (style.clipPath !== "none" || e.className === "skip" || e.closest("svg.path")) continue;
  const drawn = e.closest("svg");
  const back = behind(drawn ? drawn.parentElement : e);
  const ink = over(rgb(drawn ? style.fill : style.color), back);
  const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) found.push(`${e.tagName} ${ratio.toFixed(2)} ${e.textContent.slice(0, 30)}`);
}
return found;
