// Keeps a list of the Outbox up to date, and long work going. Everything works without it.
(function () {
  "use strict";

  var EVERY = 15000;  // milliseconds between two looks
  var FOLLOWED = 60;  // messages that one look asks about
  var FULL = 50;  // lines after which a search stops

  async function read(url, sent) {
    var answer = await fetch(url, sent);
    var page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return { ok: answer.ok, page: page };
  }

  function added(element) {
    element.dispatchEvent(new Event("im-added", { bubbles: true }));
  }

  function put(element, fresh) {
    var now = document.importNode(fresh, true);
    element.replaceWith(now);
    added(now);
    return now;
  }

  function list() { return document.querySelector("table[data-im-live]"); }

  // The messages whose state may still change, each by the id in its link.
  function followed() { return [...list().querySelectorAll("[data-im-moves]")].slice(0, FOLLOWED); }
  function idOf(line) { return line.querySelector("a").pathname.split("/").slice(-2)[0]; }

  // States and counts change where they stand; newer messages are told, and no line moves.
  function showChanges(live) {
    live.querySelectorAll("[data-im-row]").forEach(function (fresh) {
      var line = followed().find(function (one) { return idOf(one) === fresh.getAttribute("data-im-row"); });
      var state = line && line.querySelector(".im-status"), now = fresh.firstElementChild;
      if (!state) { return; }
      if (state.className !== now.className || state.title !== now.title) { state.replaceWith(document.importNode(now, true)); }
      line.toggleAttribute("data-im-moves", fresh.hasAttribute("data-im-moves"));
    });
    var numbers = live.querySelectorAll(".im-number");
    document.querySelectorAll("#im-states .im-number").forEach(function (number, at) {
      if (numbers[at]) { number.textContent = numbers[at].textContent; }
    });
    var newer = document.getElementById("im-newer"), now = live.querySelector("#im-newer");
    if (newer && newer.textContent !== now.textContent) { put(newer, now); }
  }

  async function look() {
    if (document.hidden || !list()) { return; }
    var url = new URL(list().getAttribute("data-im-live"), location.href);
    followed().forEach(function (line) { url.searchParams.append("row", idOf(line)); });
    try {
      var live = (await read(url)).page.getElementById("im-live");
      if (live) { showChanges(live); }
    } catch (error) { return; }  // the next look may reach it
  }

  function addLines(fresh) {
    var more = fresh.querySelectorAll("table[data-im-live] tbody"), rest = fresh.getElementById("im-rest");
    if (more.length && !list()) {
      put(document.querySelector(".im main"), fresh.querySelector(".im main"));
      return;
    }
    more.forEach(function (line) {
      var now = document.importNode(line, true);
      list().append(now);
      added(now);
    });
    var range = document.getElementById("im-range"), end = fresh.getElementById("im-range");
    if (range && end) {
      end.querySelector("[data-im-first]").textContent = range.querySelector("[data-im-first]").textContent;
      put(range, end);
    }
    if (rest) { put(document.getElementById("im-rest"), rest); }
  }

  // A search that took too long for one page goes on by itself.
  async function searchOn() {
    var link = document.querySelector("[data-im-goes-on]"), stopped = false;
    while (link && !stopped && document.querySelectorAll("table[data-im-live] tbody").length < FULL) {
      var stop = document.createElement("button");
      stop.type = "button";
      stop.className = "im-button";
      stop.textContent = link.getAttribute("data-im-goes-on");
      stop.addEventListener("click", function () { stopped = true; this.remove(); });
      link.after(stop);
      try {
        var answer = await read(link.href);
        stop.remove();
        if (stopped || !answer.page.getElementById("im-rest")) { return; }
        addLines(answer.page);
      } catch (error) {
        stop.remove();
        return;
      }
      link = document.querySelector("[data-im-goes-on]");
    }
  }

  function chooseAll() {
    var all = document.getElementById("im-all-here");
    if (!all) { return; }
    all.hidden = false;
    all.addEventListener("change", function () {
      document.querySelectorAll('.im-list input[name="id"]').forEach(function (box) { box.checked = all.checked; });
    });
  }

  // Step after step of a job, until it is over or somebody stops it.
  function followJob() {
    var running = false, stopped = false;

    function lost(form) {
      var alert = document.createElement("p");
      alert.className = "im-alert im-alert-bad";
      alert.setAttribute("role", "alert");
      alert.textContent = form.getAttribute("data-im-lost");
      form.before(alert);
    }

    async function step(form) {
      var sent = { method: "POST", body: new URLSearchParams(new FormData(form)) }, answer;
      try { answer = await read(form.action, sent); } catch (error) { answer = null; }
      var fresh = answer && answer.page.getElementById("im-bulk");
      if (!fresh) { lost(form); return null; }
      var focused = form.contains(document.activeElement);
      var now = put(document.getElementById("im-bulk"), fresh), next = now.querySelector("form[data-im-job]");
      if (focused) { (now.querySelector("form button") || now.querySelector("a")).focus(); }
      return answer.ok ? next : null;
    }

    function saying(form, text) {
      var button = form && form.querySelector("button");
      if (!button) { return ""; }
      var before = button.textContent;
      button.textContent = text;
      return before;
    }

    async function run(form) {
      running = true;
      stopped = false;
      document.querySelectorAll("#im-bulk > [role=alert]").forEach(function (alert) { alert.remove(); });
      while (form && !stopped) {
        var before = saying(form, form.getAttribute("data-im-stop")), last = form;
        form = await step(form);
        if (!form) { saying(last, before); }
      }
      running = false;
      var said = document.getElementById("im-said"), now = document.querySelector("#im-bulk [role=status]");
      if (said && now) { said.textContent = now.textContent; }
    }

    document.addEventListener("submit", function (event) {
      if (!event.target.matches("form[data-im-job]")) { return; }
      event.preventDefault();
      if (running) { stopped = true; } else { run(event.target); }
    });
  }

  // How many lines of the file are here already; it is kept when all are.
  function countExport() {
    document.addEventListener("click", async function (event) {
      var link = event.target.closest("[data-im-export]"), parts = [], lines = 0;
      if (!link || link.getAttribute("aria-disabled")) { return; }
      event.preventDefault();
      var count = document.createElement("span");
      count.setAttribute("role", "status");
      link.after(count);
      link.setAttribute("aria-disabled", "true");
      try {
        var answer = await fetch(link.href), reader = answer.body.getReader();
        if (!answer.ok) { throw new Error(answer.status); }
        for (var piece = await reader.read(); !piece.done; piece = await reader.read()) {
          parts.push(piece.value);
          piece.value.forEach(function (byte) { lines += byte === 10 ? 1 : 0; });
          count.textContent = link.getAttribute("data-im-export").replace("%(count)s", Math.max(lines - 1, 0).toLocaleString());
        }
        var file = document.createElement("a");
        file.href = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
        file.download = "outbox.csv";
        file.click();
        setTimeout(function () { URL.revokeObjectURL(file.href); }, 60000);
      } catch (error) {
        location.assign(link.href);  // as without this script
      }
      link.removeAttribute("aria-disabled");
    });
  }

  function begin() {
    if (!window.fetch) { return; }
    setInterval(look, EVERY);
    chooseAll();
    followJob();
    countExport();
    searchOn();
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
}());
