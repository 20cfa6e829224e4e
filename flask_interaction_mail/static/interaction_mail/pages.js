// Makes every page of the panel more comfortable. Everything works without it.
(function () {
  "use strict";

  function localTimes(root) {
    root.querySelectorAll("time[datetime]").forEach(function (element) {
      var instant = new Date(element.dateTime);
      if (isNaN(instant)) { return; }
      element.title = element.textContent;
      element.textContent = instant.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    });
  }

  // The reader's time zone, so that the next page knows what a day is.
  function tellZone() {
    var zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    var root = location.pathname.replace(/\/messaging\/.*/, "/messaging/");
    document.cookie = "interaction_mail_zone=" + zone + "; path=" + root + "; max-age=31536000; SameSite=Lax" + (location.protocol === "https:" ? "; Secure" : "");
    var field = document.querySelector("[data-im-zone]"), days = document.querySelectorAll(".im-filters [type=date]");
    if (!field || [...days].some(function (day) { return day.value; })) { return; }
    field.value = zone;
    document.querySelectorAll("[data-im-zone-name]").forEach(function (name) { name.textContent = zone; });
  }

  function offerCopies(root) {
    if (!navigator.clipboard) { return; }
    root.querySelectorAll("[data-im-copy]").forEach(function (button) { button.hidden = false; });
  }

  function copyOnClick() {
    document.addEventListener("click", function (event) {
      var button = event.target.closest("[data-im-copy]");
      var text = button && document.getElementById(button.getAttribute("data-im-copy"));
      if (!text) { return; }
      navigator.clipboard.writeText(text.textContent).then(function () {
        button.textContent = button.getAttribute("data-im-copied");
      });
    });
  }

  // A page that takes longer than a second says that it is being made.
  function saySlow() {
    var said = document.getElementById("im-slow"), timer;
    function say() { said.textContent = said.dataset.imSlow; }
    function soon(event) {
      var to = event.target, by = event.submitter || to;
      if (event.defaultPrevented || event.ctrlKey || by.formTarget) { return; }
      if (to.closest(event.type === "submit" ? ".im form" : ".im-tabs a")) { timer = setTimeout(say, 1000); }
    }
    if (!said) { return; }
    addEventListener("submit", soon);
    addEventListener("click", soon);
    addEventListener("pagehide", function () { clearTimeout(timer); said.textContent = ""; });
  }

  function begin() {
    saySlow();
    localTimes(document);
    tellZone();
    offerCopies(document);
    copyOnClick();
    document.addEventListener("im-added", function (event) {
      localTimes(event.target);
      offerCopies(event.target);
    });
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
}());
