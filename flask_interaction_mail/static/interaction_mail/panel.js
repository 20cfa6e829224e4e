// Makes the form of the settings more comfortable. Everything works without it.
(function () {
  "use strict";

  var TESTS = "[data-im-test], [data-im-alert-test]";
  var PORTS = { none: "25", starttls: "587", tls: "465" };

  // What is new in the page gets what pages.js gives to all of it.
  function added(element) { element.dispatchEvent(new Event("im-added", { bubbles: true })); }

  // A change of encryption proposes the usual port, unless the port is an unusual one.
  function proposePort(form) {
    var encryption = form.elements.encryption, port = form.elements.smtp_port;
    if (!encryption || !port || port.readOnly) { return; }
    encryption.addEventListener("change", function () {
      var usual = Object.keys(PORTS).some(function (word) { return PORTS[word] === port.value.trim(); });
      if (usual || port.value.trim() === "") { port.value = PORTS[encryption.value] || port.value; }
    });
  }

  // Choosing a provider fills in its fields, and says what else it wants: what its button does
  // without leaving the page.
  function fillFromPreset(form) {
    var choice = form.elements.preset, go = form.querySelector("[data-im-preset-go]");
    var note = document.getElementById("im-preset-note");
    // The port comes last: a change of encryption proposes one.
    var names = ["kind", "region", "access_key", "smtp_server", "encryption", "use_authentication", "sign_in", "login",
      "oauth_authorization_url", "oauth_token_url", "smtp_port"];
    if (!go || !window.fetch) { return; }
    go.hidden = true;

    async function filled() {
      var typed = new FormData(form), sent = new URLSearchParams();
      names.concat("csrf_token", "preset").forEach(function (name) {
        if (typed.has(name)) { sent.set(name, typed.get(name)); }
      });
      var answer = await fetch(go.formAction, { method: "POST", body: sent });
      return new DOMParser().parseFromString(await answer.text(), "text/html");
    }

    function fill(field, given) {
      if (!field || !given || field.readOnly || field.disabled) { return; }
      if (field.type === "checkbox") { field.checked = given.checked; } else { field.value = given.value; }
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }

    choice.addEventListener("change", async function () {
      var chosen = choice.value, page, said;
      try { page = await filled(); } catch (error) { page = new Document(); }
      said = page.getElementById("im-preset-note");
      if (!said) { go.hidden = false; return; }  // a policy of the host may forbid fetch
      if (choice.value !== chosen) { return; }  // another one was chosen meanwhile
      note.replaceChildren(...said.childNodes);
      names.forEach(function (name) { fill(form.elements[name], page.getElementById("im-" + name)); });
    });
  }

  // The checklist of a first run follows what is typed.
  function tickWhileTyping(form) {
    var lines = document.querySelectorAll("[data-im-needs]");
    function tick() {
      lines.forEach(function (line) {
        var fields = line.getAttribute("data-im-needs").split(" ").map(function (name) { return form.elements[name]; });
        var done = fields.some(function (field) { return field && field.value.trim(); });
        if (fields.some(Boolean)) { line.querySelector(".im-tick").textContent = done ? "☑" : "☐"; }
      });
    }
    form.addEventListener("input", tick);
    tick();
  }

  function tickTest(passed) {
    var tick = document.querySelector("[data-im-needs-test] .im-tick");
    if (tick) { tick.textContent = passed ? "☑" : "☐"; }
  }

  function showAuthentication(form) {
    var box = form.elements.use_authentication, part = document.getElementById("im-auth"), how = form.elements.sign_in;
    if (!box || !part) { return; }
    function hide(element, off) {
      element.classList.toggle("im-auth-off", off && !element.querySelector("[aria-invalid]"));
    }
    function update() {
      hide(part, !box.checked);
      if (!how) { return; }
      part.querySelectorAll("[data-im-sign-in]").forEach(function (row) {
        hide(row, row.getAttribute("data-im-sign-in").split(" ").indexOf(how.value) < 0);
      });
    }
    box.addEventListener("change", update);
    if (how) { how.addEventListener("change", update); }
    update();
  }

  // Only what the way of sending needs is shown, and what has an error.
  function showKind(form) {
    var kind = form.elements.kind;
    if (!kind) { return; }
    function update() {
      form.querySelectorAll("[data-im-kind]").forEach(function (part) {
        var off = part.getAttribute("data-im-kind").split(" ").indexOf(kind.value) < 0;
        part.classList.toggle("im-kind-off", off && !part.querySelector("[aria-invalid]"));
      });
    }
    kind.addEventListener("change", update);
    update();
  }

  function warnOfUnsavedChanges(form) {
    var changed = form.hasAttribute("data-im-changed"), leaving = false;
    form.addEventListener("input", function () { changed = true; });
    form.addEventListener("submit", function (event) {
      leaving = Boolean(event.submitter && event.submitter.hasAttribute("data-im-save"));
    });
    document.querySelectorAll("[data-im-leave]").forEach(function (link) {
      link.addEventListener("click", function () { leaving = true; });
    });
    window.addEventListener("beforeunload", function (event) {
      if (changed && !leaving) { event.preventDefault(); event.returnValue = ""; }
    });
  }

  function markField(name, text) {
    var field = document.getElementById("im-" + name), id = "im-" + name + "-error";
    if (!field || !text || document.getElementById(id)) { return; }
    var error = document.createElement("div");
    error.id = id;
    error.className = "im-error";
    error.textContent = text;
    error.setAttribute("data-im-tested", name);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", ((field.getAttribute("aria-describedby") || "") + " " + id).trim());
    (field.closest(".im-row") || field).append(error);
    var details = field.closest("details"), part;
    if (details) { details.open = true; }
    while ((part = field.closest(".im-auth-off, .im-kind-off"))) { part.classList.remove("im-auth-off", "im-kind-off"); }
  }

  function unmark(field) {
    var error = document.getElementById(field.id + "-error");
    field.removeAttribute("aria-invalid");
    if (!error) { return; }
    var others = (field.getAttribute("aria-describedby") || "").split(" ").filter(function (id) { return id !== error.id; });
    if (others.length) { field.setAttribute("aria-describedby", others.join(" ")); }
    else { field.removeAttribute("aria-describedby"); }
    error.remove();
  }

  function unmarkFields() {
    document.querySelectorAll("[data-im-tested]").forEach(function (error) {
      unmark(document.getElementById("im-" + error.getAttribute("data-im-tested")));
    });
  }

  // Show the result of a test in the page, without a frame, which a host might forbid. If that
  // is not possible, its button opens the result in a tab of its own.
  function followTest(form) {
    var section = document.getElementById("im-test");
    if (!section || !window.fetch || !window.AbortController) { return; }
    var shown = document.getElementById("im-test-shown"), said = document.getElementById("im-test-said");
    var old = document.getElementById("im-test-old"), badge = document.getElementById("im-badge");
    var ofSaved = [...badge.childNodes], tested = false, apart = false;

    function show(text) {
      var result = new DOMParser().parseFromString(text, "text/html").getElementById("im-result");
      if (result) { shown.replaceChildren(document.importNode(result, true)); }
      return Boolean(result);
    }

    function lost() {
      var alert = document.createElement("p");
      alert.className = "im-alert im-alert-bad";
      alert.textContent = said.textContent = section.getAttribute("data-im-lost");
      shown.replaceChildren(alert);
    }

    function end(button) {
      var verdict = shown.querySelector("[data-im-verdict]"), now = shown.querySelector("[data-im-badge]");
      var token = shown.querySelector("#im-token-now");
      shown.querySelectorAll(".im-running").forEach(function (text) { text.remove(); });
      if (token) { document.getElementById("im-token").value = token.value; token.remove(); }
      shown.querySelectorAll("[data-im-field]").forEach(function (one) {
        markField(one.getAttribute("data-im-field"), one.querySelector("[data-im-mark]").textContent);
      });
      if (now) { badge.replaceChildren(...now.childNodes); now.remove(); }
      added(badge);
      tested = true;
      if (!button.hasAttribute("data-im-alert-test")) {
        tickTest(Boolean(verdict) && verdict.getAttribute("data-im-verdict") === "passed");
      }
      added(shown);
      var outcome = verdict || shown.querySelector("[role=alert]");
      if (!outcome) { lost(); return; }
      outcome.removeAttribute("role");  // the live region says it, once
      var failed = [...shown.querySelectorAll(".im-step-failed .im-step-name")];
      var parts = [verdict ? verdict.querySelector("h3") : outcome, ...failed].map(function (part) { return part.textContent; });
      said.textContent = [...new Set(parts)].join(". ");  // the headline often repeats the name of the step
      if (verdict) { verdict.parentElement.prepend(verdict, ...shown.querySelectorAll(".im-step-failed")); }
      [outcome, shown.querySelector(".im-step-failed")].forEach(function (part) {
        if (part) { part.scrollIntoView({ block: "nearest" }); }
      });
    }

    async function run(button) {
      var stop = new AbortController(), timer = setTimeout(function () { stop.abort(); }, 60000), text = "", ours = false, answer;
      try {
        answer = await fetch(button.formAction, { method: "POST", body: new URLSearchParams(new FormData(form)), signal: stop.signal });
        var reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (var piece = await reader.read(); !piece.done; piece = await reader.read()) {
          text += piece.value;
          ours = show(text);
        }
      } catch (error) {
        ours = false;
        apart = !answer;  // a policy of the host may forbid fetch: the next test opens a tab
      }
      clearTimeout(timer);
      if (ours) { end(button); } else { lost(); }
      button.removeAttribute("aria-disabled");
    }

    form.addEventListener("submit", function (event) {
      var button = event.submitter;
      if (!button || !button.matches(TESTS) || apart) { return; }
      event.preventDefault();
      if (form.querySelector("[aria-disabled]")) { return; }
      button.setAttribute("aria-disabled", "true");
      unmarkFields();
      old.hidden = true;
      said.textContent = section.getAttribute("data-im-testing");
      shown.replaceChildren(said.textContent);
      section.scrollIntoView({ block: "nearest" });
      run(button);
    });
    form.addEventListener("input", function () {
      if (!tested) { return; }
      old.hidden = tested = false;
      tickTest(false);
      badge.replaceChildren(...ofSaved);
    });
  }

  // A field that is being corrected loses its error until the server reports it again.
  function forgiveWhileTyping(form) {
    form.addEventListener("input", function (event) { unmark(event.target); });
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
    var form = document.querySelector("form[data-im-settings]");
    if (!form) { return; }
    proposePort(form);
    fillFromPreset(form);
    tickWhileTyping(form);
    showAuthentication(form);
    showKind(form);
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
