// Makes the form of the settings more comfortable. Everything works without it.
(function () {
  "use strict";

  var TESTS = "[data-im-test], [data-im-other-test]";
  var PORTS = { none: "25", starttls: "587", tls: "465" };

  // What is new in the page gets what pages.js gives to all of it.
  function added(element) { element.dispatchEvent(new Event("im-added", { bubbles: true })); }

  // What stands before the names of the fields of each server in the form.
  function prefixes(form) {
    return [...form.querySelectorAll("[data-im-auth]")].map(function (part) {
      return part.getAttribute("data-im-auth").replace(/use_authentication$/, "");
    });
  }

  // A change of encryption proposes the usual port, unless the port is an unusual one.
  function proposePort(form, prefix) {
    var encryption = form.elements[prefix + "encryption"], port = form.elements[prefix + "smtp_port"];
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
    var which = form.elements.preset_relay;
    if (!go || !window.fetch) { return; }
    go.hidden = true;

    function prefix() { return which && which.value !== "default" ? "relays-" + which.value + "-" : ""; }

    async function filled() {
      var typed = new FormData(form), sent = new URLSearchParams(), own = prefix();
      names.map(function (name) { return own + name; }).concat("csrf_token", "relays", "preset", "preset_relay").forEach(function (name) {
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
      var chosen = choice.value, own = prefix(), page, said;
      try { page = await filled(); } catch (error) { page = new Document(); }
      said = page.getElementById("im-preset-note");
      if (!said) { go.hidden = false; return; }  // a policy of the host may forbid fetch
      if (choice.value !== chosen) { return; }  // another one was chosen meanwhile
      note.replaceChildren(...said.childNodes);
      names.forEach(function (name) { fill(form.elements[own + name], page.getElementById("im-" + own + name)); });
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

  function showAuthentication(form, prefix) {
    var box = form.elements[prefix + "use_authentication"], how = form.elements[prefix + "sign_in"];
    var part = form.querySelector('[data-im-auth="' + prefix + 'use_authentication"]');
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
  function showKind(form, prefix) {
    var kind = form.elements[prefix + "kind"], part = kind && (kind.closest("[data-im-relay]") || form);
    if (!kind) { return; }
    function update() {
      part.querySelectorAll("[data-im-kind]").forEach(function (row) {
        var off = row.getAttribute("data-im-kind").split(" ").indexOf(kind.value) < 0;
        row.classList.toggle("im-kind-off", off && !row.querySelector("[aria-invalid]"));
      });
    }
    kind.addEventListener("change", update);
    update();
  }

  // Adds, moves and removes a server without leaving the page: its buttons do the same, but secrets
  // that were typed would be lost, as they are never sent back. Alt and an arrow key move, too.
  function arrangeRelays(form) {
    var busy = false, apart = false;  // a policy of the host may forbid fetch
    if (!window.fetch) { return; }

    function secrets() {
      return [...form.querySelectorAll('input[type="password"], textarea')].filter(function (field) { return field.value; });
    }

    function isShown(field) { return field.getClientRects().length > 0; }

    function keep(typed) {
      typed.forEach(function (field) {
        var now = form.elements[field.name];
        if (now && !now.value) { now.value = field.value; }
      });
    }

    function focus(button) {
      var same = document.getElementById(button.id), first = form.querySelector("#im-relay_name[aria-invalid]");
      if (button.value === "add") {
        first = first || [...[...form.querySelectorAll("[data-im-relay]")].pop().querySelectorAll("details input")].find(isShown);
      } else if (same) {
        first = same.disabled ? same.parentElement.querySelector("[data-im-arrange]:not([disabled])") : same;
      }
      (first || document.getElementById("im-arranged")).focus();
    }

    async function arrange(button) {
      var sent = new URLSearchParams(new FormData(form)), typed = secrets(), page, parts;
      sent.set("do", button.value);
      try {
        page = new DOMParser().parseFromString(await (await fetch(button.formAction, { method: "POST", body: sent })).text(), "text/html");
      } catch (error) { page = new Document(); }
      parts = page.getElementById("im-form");
      busy = false;
      if (!parts) { apart = true; form.requestSubmit(button); return; }
      parts.querySelectorAll("[autofocus]").forEach(function (part) { part.removeAttribute("autofocus"); });
      form.replaceChildren(...document.importNode(parts, true).childNodes);
      document.getElementById("im-top").replaceChildren(...page.getElementById("im-top").childNodes);
      keep(typed);
      form.querySelectorAll("[data-im-again]").forEach(function (text) { text.remove(); });
      begin(form);
      added(form);
      form.dispatchEvent(new Event("input", { bubbles: true }));
      focus(button);
    }

    form.addEventListener("submit", function (event) {
      var button = event.submitter;
      if (!button || !button.hasAttribute("data-im-arrange") || apart) { return; }
      event.preventDefault();
      if (!busy) { busy = true; arrange(button); }
    });
    form.addEventListener("keydown", function (event) {
      var relay = event.target.closest("[data-im-relay]"), what = { ArrowUp: "up", ArrowDown: "down" }[event.key], button;
      if (!relay || !what || !event.altKey || event.target.matches("select")) { return; }
      button = document.getElementById("im-" + what + "-" + relay.getAttribute("data-im-relay"));
      event.preventDefault();
      if (button && !button.disabled) { button.click(); }
    });
  }

  function warnOfUnsavedChanges(form) {
    var changed = form.hasAttribute("data-im-changed"), leaving = false;
    form.addEventListener("input", function () { changed = true; });
    form.addEventListener("submit", function (event) {
      leaving = Boolean(event.submitter && event.submitter.hasAttribute("data-im-save"));
    });
    document.addEventListener("click", function (event) {
      leaving = leaving || Boolean(event.target.closest("[data-im-leave]"));
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
    var old = document.getElementById("im-test-old"), tested = false, apart = false;
    var badge, ofSaved = [];  // of the server that was tested

    function showBadge(now) {
      var found = document.querySelector('[data-im-badge-of="' + now.getAttribute("data-im-badge") + '"]');
      if (!found) { return; }
      if (badge !== found) { badge = found; ofSaved = [...found.childNodes]; }
      badge.replaceChildren(...now.childNodes);
      now.remove();
      added(badge);
    }

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
      if (now) { showBadge(now); }
      tested = true;
      if (!button.hasAttribute("data-im-other-test")) {
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
      if (badge) { badge.replaceChildren(...ofSaved); }
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

  // What belongs to fields, which may be new.
  function begin(form) {
    prefixes(form).forEach(function (prefix) {
      proposePort(form, prefix);
      showAuthentication(form, prefix);
      showKind(form, prefix);
    });
    fillFromPreset(form);
  }

  function beginAll() {
    var form = document.querySelector("form[data-im-settings]");
    if (!form) { return; }
    begin(form);
    tickWhileTyping(form);
    warnOfUnsavedChanges(form);
    followTest(form);
    arrangeRelays(form);
    forgiveWhileTyping(form);
    openDetailsOfLinks();
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", beginAll);
  } else {
    beginAll();
  }
}());
