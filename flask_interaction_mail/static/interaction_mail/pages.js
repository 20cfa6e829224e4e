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
    if (!said) { return; }
    function soon(event) {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
      clearTimeout(timer);
      timer = setTimeout(function () { said.textContent = said.getAttribute("data-im-slow"); }, 1000);
    }
    window.addEventListener("submit", function (event) {
      var elsewhere = event.target.target || (event.submitter && event.submitter.formTarget);
      if (event.target.matches(".im form") && !elsewhere) { soon(event); }
    });
    window.addEventListener("click", function (event) {
      if (event.target.closest(".im-tabs a")) { soon(event); }
    });
    window.addEventListener("pagehide", function () { clearTimeout(timer); said.textContent = ""; });
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
