// What makes the panel more comfortable. Everything works without it.
(function () {
  "use strict";

  var PORTS = { none: "25", starttls: "587", tls: "465" };

  function localTimes(root) {
    root.querySelectorAll("time[datetime]").forEach(function (element) {
      var instant = new Date(element.dateTime);
      if (isNaN(instant)) { return; }
      element.title = element.textContent;
      element.textContent = instant.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    });
  }

  // Another encryption proposes its port, unless a port was chosen that no encryption proposes.
  function proposePort(form) {
    var encryption = form.elements.encryption, port = form.elements.smtp_port;
    if (!encryption || !port || port.readOnly) { return; }
    encryption.addEventListener("change", function () {
      var usual = Object.keys(PORTS).some(function (word) { return PORTS[word] === port.value.trim(); });
      if (usual || port.value.trim() === "") { port.value = PORTS[encryption.value] || port.value; }
    });
  }

  function showAuthentication(form) {
    var box = form.elements.use_authentication, part = document.getElementById("im-auth");
    if (!box || !part) { return; }
    function update() {
      var wrong = part.querySelector("[aria-invalid]");
      part.classList.toggle("im-auth-off", !box.checked && !wrong);
    }
    box.addEventListener("change", update);
    update();
  }

  function warnOfUnsavedChanges(form) {
    var changed = form.hasAttribute("data-im-changed"), leaving = false;
    form.addEventListener("input", function () { changed = true; });
    form.addEventListener("submit", function (event) {
      leaving = !(event.submitter && event.submitter.hasAttribute("data-im-test"));
    });
    document.querySelectorAll("[data-im-leave]").forEach(function (link) {
      link.addEventListener("click", function () { leaving = true; });
    });
    window.addEventListener("beforeunload", function (event) {
      if (changed && !leaving) { event.preventDefault(); event.returnValue = ""; }
    });
  }

  function fit(frame) {
    var page = frame.contentDocument && frame.contentDocument.querySelector("main");
    if (page) { frame.style.height = Math.max(page.offsetHeight + 40, 96) + "px"; }
  }

  // While a test runs its button rests and the frame is brought into view.
  function followTest(form) {
    var button = form.querySelector("[data-im-test]"), frame = document.getElementById("im-test");
    if (!button || !frame) { return; }
    form.addEventListener("submit", function (event) {
      if (event.submitter !== button) { return; }
      setTimeout(function () { button.disabled = true; }, 0);
      frame.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
    frame.addEventListener("load", function () { button.disabled = false; fit(frame); });
    setInterval(function () { if (button.disabled) { fit(frame); } }, 250);
    fit(frame);
  }

  // What is being corrected is not wrong any more until the server says so again.
  function forgiveWhileTyping(form) {
    form.addEventListener("input", function (event) {
      var error = document.getElementById(event.target.id + "-error");
      event.target.removeAttribute("aria-invalid");
      if (error) { error.hidden = true; }
    });
  }

  function openDetailsOfLinks() {
    document.querySelectorAll('.im-alert a[href^="#im-"]').forEach(function (link) {
      link.addEventListener("click", function (event) {
        var field = document.getElementById(link.hash.slice(1));
        if (!field) { return; }
        event.preventDefault();
        var details = field.closest("details");
        if (details) { details.open = true; }
        field.focus();
        field.scrollIntoView({ block: "center" });
      });
    });
  }

  function begin() {
    localTimes(document);
    var form = document.querySelector("form[data-im-settings]");
    if (!form) { return; }
    proposePort(form);
    showAuthentication(form);
    warnOfUnsavedChanges(form);
    followTest(form);
    forgiveWhileTyping(form);
    openDetailsOfLinks();
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
}());
