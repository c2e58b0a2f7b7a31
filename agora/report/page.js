"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const style = () => getComputedStyle(document.documentElement);
  const tone = (styles, name) => styles.getPropertyValue("--" + name).trim();

  // Colours are named "tone:…" in the figures, so that one figure serves the light and the dark theme.
  const paint = (value, styles) => {
    if (typeof value === "string") return value.startsWith("tone:") ? tone(styles, value.slice(5)) : value;
    if (Array.isArray(value) || value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, paint(part, styles)]));
  };

  const axis = (own, styles) => ({
    gridcolor: tone(styles, "rule"), linecolor: tone(styles, "rule"), zerolinecolor: tone(styles, "rule"),
    automargin: true, exponentformat: "none", separatethousands: true, ...own,
  });

  const layout = (own, styles) => ({
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: tone(styles, "quiet") },
    margin: { l: 56, r: 14, t: 12, b: 34 },
    hoverlabel: { bgcolor: tone(styles, "surface"), bordercolor: tone(styles, "rule"),
      font: { color: tone(styles, "ink"), size: 12 }, align: "left" },
    hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    ...own,
    xaxis: axis({ type: "date", tickangle: 0, nticks: 6, ...(own.xaxis || {}) }, styles),
    yaxis: axis(own.yaxis || {}, styles),
  });

  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  const draw = () => {
    const styles = style();
    for (const figure of figures) {
      const target = document.getElementById("plot-" + figure.place);
      // Traces hold long arrays, which paint leaves alone.
      const traces = figure.traces.map((trace) => paint(trace, styles));
      Plotly.react(target, traces, layout(paint(figure.layout, styles), styles), options);
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
