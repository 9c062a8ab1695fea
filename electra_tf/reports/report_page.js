const tip = document.getElementById("tip");
function show(lines, x, y) {
  tip.replaceChildren(...lines.map(([colour, text]) => {
    const line = document.createElement("div");
    if (colour !== null) {
      const swatch = document.createElement("i");
      swatch.className = "swatch c" + colour;
      line.append(swatch);
    }
    line.append(text);
    return line;
  }));
  tip.hidden = false;
  const place = (at, size, room) =>
    Math.max(4, at + 14 + size > room ? at - 14 - size : at + 14) + "px";
  tip.style.left = place(x, tip.offsetWidth, innerWidth);
  tip.style.top = place(y, tip.offsetHeight, innerHeight);
}
const said = (value) => Math.abs(value) >= 1000
  ? Math.round(value).toLocaleString("en-US") : value.toPrecision(4);
const near = (points, step) => points.reduce((best, point) =>
  Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best);
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg"), cursor = chart.querySelector(".cursor");
  const {frame: [left, right, width, last], series} = JSON.parse(chart.dataset.curves);
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * width / box.width;
    const wanted = (x - left) / (right - left) * last;
    const step = near(series.map(([, , points]) => near(points, wanted)), wanted)[0];
    const place = left + (right - left) * step / last;
    cursor.setAttribute("transform", `translate(${place})`);
    cursor.removeAttribute("hidden");
    show([[null, "step " + step.toLocaleString("en-US")]].concat(
      series.map(([label, colour, points]) => {
        const [at, value] = near(points, step);
        const where = at === step ? "" : ` (step ${at.toLocaleString("en-US")})`;
        return [colour, `${label}: ${said(value)}${where}`];
      })), event.clientX, event.clientY);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("hidden", "");
    tip.hidden = true;
  });
}
addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});
document.addEventListener("click", (event) => {
  const token = event.target.closest(".text [title]");
  if (token) show([[null, token.title]], event.clientX, event.clientY);
  else if (!event.target.closest(".chart")) tip.hidden = true;
});
