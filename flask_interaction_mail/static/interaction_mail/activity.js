// Draws the table of the page Activity as a chart. The table stays, folded.
(function () {
  "use strict";

  // Told apart by colour and by dashes, in the order of the columns; the legend shows the same.
  var LINES = [
    { stroke: "#0072b2", width: 2 },
    { stroke: "#a85400", width: 2, dash: [8, 4] },
    { stroke: "#c1121f", width: 2, dash: [2, 3] },
    { stroke: "#6a3d9a", width: 2, dash: [10, 4, 2, 4] }
  ];
  var WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8];
  var HEIGHT = 260, DAY = 86400;

  function column(rows, read) { return rows.map(read); }

  function values(table) {
    var rows = [...table.tBodies[0].rows];
    var times = column(rows, function (row) { return Date.parse(row.querySelector("time").dateTime) / 1000; });
    var counts = LINES.map(function (_, at) {
      return column(rows, function (row) { return Number(row.cells[at + 1].firstElementChild.value); });
    });
    return [times, ...counts];
  }

  function clock(days) {
    return days ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" };
  }

  function options(place, data, names, say) {
    var days = data[0][data[0].length - 1] - data[0][0] > 2 * DAY;
    function at(seconds) { return new Date(seconds * 1000).toLocaleString([], clock(days)); }
    return {
      width: place.clientWidth,
      height: HEIGHT,
      padding: [8, 32, 0, 0], // half of the last time stands beside the axis
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: function (_, low, high) { return [0, Math.max(high || 0, 1) * 1.05]; } } },
      axes: [
        { stroke: "#1b1b1b", space: 90, values: function (_, splits) { return splits.map(at); } },
        { stroke: "#1b1b1b", incrs: WHOLE, size: 56, values: function (_, splits) { return splits.map(function (value) { return value.toLocaleString(); }); } }
      ],
      series: [{}].concat(LINES.map(function (line) {
        return Object.assign({ points: { show: data[0].length < 32, size: 5 } }, line);
      })),
      hooks: {
        setCursor: [function (plot) {
          var index = plot.cursor.idx;
          if (index === null || index === undefined) { say.textContent = "\u00a0"; return; }
          var parts = names.map(function (name, number) { return name + " " + data[number + 1][index].toLocaleString(); });
          var moment = new Date(data[0][index] * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
          say.textContent = moment + " \u2013 " + parts.join(", ");
        }]
      }
    };
  }

  function begin() {
    var table = document.getElementById("im-chart-data"), place = document.getElementById("im-chart");
    var say = document.getElementById("im-chart-at");
    if (!table || !place || !window.uPlot) { return; }
    var names = [...table.tHead.rows[0].cells].slice(1).map(function (cell) { return cell.textContent; });
    var data = values(table);
    place.hidden = say.hidden = false;
    document.getElementById("im-chart-table").open = false;
    var plot = new window.uPlot(options(place, data, names, say), data, place);
    new ResizeObserver(function () {
      if (place.clientWidth !== plot.width) { plot.setSize({ width: place.clientWidth, height: HEIGHT }); }
    }).observe(place);
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
}());
