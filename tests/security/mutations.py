"""Every guard, how it is taken away, and which tests have to notice: one entry each."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "test_t1_no_way_takes_the_password_to_another_connection"
FIELDS = "test_t7_control_characters_are_refused_in_every_header_bound_value"
FALSE = "test_t8_addresses_that_pretend_are_refused"
SMUGGLED = "test_t9_no_odd_end_of_data_makes_a_second_message"
BAD_CERTIFICATE = "test_a_bad_certificate_ends_it_before_the_login"
STARTTLS = "test_starttls_is_required_once_chosen"
KILLED = "test_t12_killed_anywhere_it_leaves_every_password_readable"
MATRIX = "test_t13_the_header_matrix_holds_whatever_somebody_calls_himself"
ADMIN = "templates/interaction_mail/admin"
MAIL = "templates/interaction_mail/mail"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One guard taken away: ``old``, which stands once in ``file``, becomes ``new``."""

    threat: str
    guard: str
    file: str  # below the package
    old: str
    new: str
    tests: tuple[str, ...]  # names of functions, of which at least one has to fail


def _m(threat: str, guard: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(threat, guard, file, old, new, tests)


MUTATIONS = (
    # -- T1: the password belongs to one connection
    _m("T1", "a password is used only where it was entered for", "settings/layers.py",
       "if getattr(bound_to, part) != getattr(destination, part)", "if False",
       GROUP),
    _m("T1", "the CA certificate belongs to the connection", "settings/model.py",
       '        part="CA certificate",\n', "",
       GROUP),
    _m("T1", "a changed connection is not saved without its password", "settings/rules.py",
       "if password is not PasswordState.USABLE:", "if password is PasswordState.NONE:",
       GROUP),
    # -- T2: connections go where mail servers are
    _m("T2", "metadata services are never connected to", "transport/policy.py",
       '"169.254.0.0/16",', "", "test_no_mail_server_is_there"),
    _m("T2", "an installation may deny more", "state.py",
       "return ConnectPolicy(deny=self.config.deny_networks, ports=self.config.deny_ports)",
       "return ConnectPolicy()",
       "test_an_installation_may_deny_more"),
    _m("T2", "an IPv4 address in IPv6 is looked at", "transport/policy.py",
       "    if address.ipv4_mapped:\n", "    if False:\n", "test_nobody_connects_there"),
    # -- T3: tokens
    _m("T3", "buttons need it, too", "admin/outbox.py",
       "if not token_is_valid():", "if False:", "test_a_post_without_the_right_token_does_nothing"),
    _m("T3", "the token is compared", "admin/csrf.py",
       "if not hmac.compare_digest(given, str(field.current_token).encode()):", "if False:",
       "test_a_post_without_the_right_token_does_nothing"),
    # -- T4: closed by default
    _m("T4", "a page asks for its right", "admin/panel_view.py",
       "        if self.is_accessible():\n            return None", "        return None",
       "test_r7_each_page_opens_to_those_with_its_rights_alone"),
    _m("T4", "an admin that lets everybody in does not open the panel", "admin/access.py",
       "type(state.admin.index_view).is_accessible is not BaseView.is_accessible", "True",
       "test_r7_an_unprotected_admin_keeps_the_panel_closed"),
    _m("T4", "bodies are not inherited from a login", "admin/access.py",
       'if right is Right.BODY:', "if not right:",
       "test_bodies_are_never_inherited_from_a_login"),
    # -- T5: text stays text
    _m("T5", "subjects are escaped", f"{ADMIN}/message.html",
       "{{ row.subject or _gettext('(no subject)') }}", "{{ row.subject|safe }}",
       "test_t5_outbox"),
    _m("T5", "transcripts are escaped", f"{ADMIN}/test_result.html",
       "{{ line }}", "{{ line|safe }}", "test_t5_what_a_server_says"),
    _m("T5", "errors quote what was typed as text", f"{ADMIN}/_fields.html",
       "in field.errors %}{{ text }} ", "in field.errors %}{{ text|safe }} ",
       "test_t5_what_was_typed_and_refused"),
    _m("T5", "HTML bodies load and run nothing", "admin/outbox.py",
       "default-src 'none'; style-src", "style-src",
       "test_t5_headers_and_bodies_of_what_was_sent"),
    _m("T5", "a host's own policy stands beside ours, not in its place",
       "admin/security_headers.py",
       "response.headers.add(_POLICY, policy)", "pass",
       "test_what_a_host_says_of_every_answer_takes_none_of_our_guards_away"),
    # -- T6: no formulas
    _m("T6", "what could be a formula gets an apostrophe", "admin/export.py",
       """return _RISKY.sub("'", text)""", "return text", "test_no_cell_is_a_formula"),
    # -- T7: no control characters
    _m("T7", "U+0085 and its like are control characters", "addresses/faults.py",
       r'"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"', r'"[\x00-\x1f\x7f]"', FIELDS),
    _m("T7", "names of parties are looked at", "messages/arguments.py",
       'addresses.check_line(f"{argument} (name)", person.name)', "pass", FIELDS),
    _m("T7", "file names are looked at", "messages/attachments.py",
       'addresses.check_line(f"The file name {name}", attached.filename)', "pass", FIELDS),
    _m("T7", "header names are words", "messages/headers.py",
       "if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:", "if len(name) > _NAME_LIMIT:",
       FIELDS),
    _m("T7", "Flask-Mail's names are looked at", "flask_mail/bridge.py",
       'check_line(field, f"{name} <{address}>")', "pass", FIELDS),
    _m("T7", "an address in a command has no blank and no bracket", "transport/smtp/commands.py",
       "    if _FORBIDDEN.search(address):", "    if False:",
       "test_an_address_that_could_be_a_command_is_refused"),
    _m("T7", "only what was folded is unfolded", "messages/headers.py",
       r'_FOLD = re.compile(r"\r?\n[ \t]+(?=[^ \t\r\n])")', r'_FOLD = re.compile(r"\r?\n[ \t]*")',
       FIELDS, "test_only_a_fold_is_unfolded"),
    # -- T8: no false addresses
    _m("T8", "a text that names two addresses is refused", "flask_mail/bridge.py",
       "elif _ADDRESS_LIKE.search(name) and name.casefold() != address.casefold():",
       "elif False:", FALSE),
    _m("T8", "encoded words are no local parts", "addresses/__init__.py",
       'if "=?" in local and "?=" in local:', "if False:", FALSE),
    _m("T8", "letters that stand for others are refused", "addresses/__init__.py",
       'raise ValueError("The part after the @ has characters that stand for others.")', "pass",
       FALSE),
    _m("T8", "mixed alphabets are refused", "addresses/__init__.py",
       "if len(scripts & _LOOK_ALIKES) > 1:", "if False:", FALSE),
    _m("T8", "only blanks are taken off what is typed", "settings/cleaners.py",
       "return raw.strip(addresses.PASTED)", "return raw.strip()", FALSE),
    _m("T8", "domains are kept as A-labels", "addresses/__init__.py",
       "    return ascii_form\n", "    return unicode_form\n",
       "test_t8_international_domains_are_kept_and_sent_as_a_labels"),
    # -- T9: one message
    _m("T9", "bodies get canonical line ends", "messages/encoding.py",
       'lines = _LINE_ENDS.sub("\\n", text) if "\\r" in text else text', "lines = text", SMUGGLED),
    _m("T9", "control characters of bodies are encoded", "messages/encoding.py",
       r"[\t\n\x20-\x7e]*", r"[\x00-\x7f]*", SMUGGLED),
    _m("T9", "attached messages have no odd ends", "messages/attachments.py",
       "if _CONTROL.search(data):", "if False:",
       "test_t9_an_attached_message_makes_no_second_one",
       "test_a_message_that_cannot_travel_as_it_is_says_why"),
    _m("T9", "boundaries are not those of an attached message", "messages/mime.py",
       "    while any(f\"{encoding", "    while False and any(f\"{encoding",
       "test_an_attached_message_travels_as_it_is"),
    _m("T9", "dots are stuffed", "transport/smtp/commands.py",
       "if _LEADING_DOT.search(content):", "if False:", SMUGGLED),
    _m("T9", "odd line ends never reach the wire", "transport/smtp/commands.py",
       "if not _canonical(envelope.content):", "if False:",
       "test_content_that_could_be_two_messages_is_refused"),
    # -- T10: encryption
    _m("T10", "certificates are verified", "transport/smtp/tls.py",
       "    context.minimum_version = ssl.TLSVersion.TLSv1_2\n",
       "    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n",
       BAD_CERTIFICATE),
    _m("T10", "STARTTLS is required once chosen", "transport/smtp/session.py",
       "case Encryption.STARTTLS:", "case Encryption.STARTTLS if self.offered.starttls:",
       STARTTLS),
    _m("T10", "what came ahead of TLS ends it", "transport/smtp/stream.py",
       "if self._lines or self._rest:", "if False:",
       STARTTLS),
    _m("T10", "what was offered before TLS is forgotten", "transport/smtp/session.py",
       "self._hello()  # what", "pass  # what",
       "test_what_was_said_before_the_encryption_is_forgotten"),
    _m("T10", "no login without encryption, when sending", "transport/smtp/auth.py",
       "if not (encrypted or relay.allow_unencrypted_auth):", "if False:",
       "test_r19_never_sends_without_the_login_that_was_asked_for"),
    _m("T10", "no login without encryption, when saving", "settings/rules.py",
       "if settings.encryption is Encryption.NONE and not settings.allow_unencrypted_auth:",
       "if False:", "test_t10_no_password_in_the_clear"),
    # -- T11: the password stays inside
    _m("T11", "a secret shows stars", "settings/secret.py",
       'return "********"', "return self.__text", "test_it_shows_itself_to_nobody"),
    _m("T11", "it is encrypted where it is stored", "settings/keyring.py",
       "return self._ring().encrypt(_payload(password, destination)).decode",
       "return base64.b64encode(_payload(password, destination)).decode",
       "test_t11_token_shows_nothing"),
    _m("T11", "signals do not carry it", "operations.py",
       "settings=replace(saved.settings, password=None),", "settings=saved.settings,",
       "test_t1_an_empty_port_is_port_25"),
    _m("T11", "transcripts blank it", "transport/smtp/stream.py",
       'self._transcribe("C", shown)', 'self._transcribe("C", repr(render()))',
       "test_r56_the_password_of_the_form_is_used_and_not_shown"),
    _m("T11", "the form never gives it back", "admin/fields.py",
       "PasswordInput(hide_value=True)", "PasswordInput(hide_value=False)",
       "test_r56_a_password_is_never_rendered"),
    _m("T11", "the fingerprint needs the key", "settings/keyring.py",
       "hmac.digest(key, password", 'hmac.digest(b"", password',
       "test_t11_fingerprint_is_no_oracle_for_the_password"),
    _m("T11", "pages are not kept in caches", "admin/security_headers.py",
       '    "Cache-Control": ("no-store", lambda value: "no-store" in value.lower()),\n', "",
       "test_every_answer_has_our_headers"),
    # -- T12: keys change
    _m("T12", "older keys open what they sealed", "settings/keyring.py",
       "return MultiFernet(self._fernets())", "return MultiFernet(self._fernets()[:1])",
       KILLED),
    _m("T12", "every row is rotated", "settings/store.py",
       "self._rotate(row, in_force=row.revision == newest) for row in self._rows.with_secret()",
       "self._rotate(row, in_force=True) for row in self._rows.with_secret()[-1:]",
       KILLED),
    # -- T13: nobody passes for another
    _m("T13", "no @ in a name", "text.py",
       "legible(name[:_EXAMINED].translate(_AT_SIGNS))", "legible(name[:_EXAMINED])", MATRIX),
    _m("T13", "no encoded word in a name", "text.py",
       r'visible = re.sub(r"=\?|\?=", " ", visible)', "pass", MATRIX),
    _m("T13", "no control character in a name", "text.py",
       '[0] in "CZ"', '[0] in "Z"', MATRIX),
    _m("T13", "nothing that turns the text around in a name", "text.py",
       'return " " if character in _TURNING else ""', "return character", MATRIX),
    _m("T13", "Flask-Mail's senders only in own domains", "messages/sender.py",
       "if is_own(given.address, default, settings):", "if True:",
       "test_t13_flask_mail_senders_are_named_only_in_own_domains"),
    # -- T14: one request for ten clicks, and the rates
    _m("T14", "above the rate of a recipient it is held", "outbox/rates.py",
       "return sum(islice(beside, limit)) >= limit", "return False",
       "test_t14_a_thousand_denials_are_ten_mails_and_one_digest"),
    _m("T14", "one request per pair and window", "merges.py",
       "if earlier is not None and _still_stands(state, earlier, settings):", "if False:",
       "test_ten_clicks_are_one_request"),
    # -- T15: blind copies, HTML mail
    _m("T15", "blind copies stay out of the header", "messages/compose.py",
       "        cc=cc,\n        message_id", "        cc=(*cc, *bcc),\n        message_id",
       "test_t15_a_blind_copy_is_on_the_envelope_alone"),
    _m("T15", "names are escaped in HTML mail", f"{MAIL}/merge_request.html",
       "{% else %}{{ contact.name }}{% endif %}", "{% else %}{{ contact.name|safe }}{% endif %}",
       "test_t15_names_in_html_mail_make_no_element"),
    # -- T16: one line
    _m("T16", "replies are one line", "transport/smtp/replies.py",
       "if not (text.isascii() and text.isprintable()):", "if False:",
       "test_t16_a_reply_is_one_record_of_one_line"),
    # -- T17: links
    _m("T17", "links of contacts lead to web pages", "merges.py",
       "_LINK.fullmatch(whole) and whole.isprintable()", "whole",
       "test_what_is_no_link_is_none_in_a_mail"),
    # -- T18: forgetting
    _m("T18", "old bodies are removed", "outbox/retention.py",
       "without = sa.update(MESSAGE).values(intent=PURGED, content=None)",
       "without = sa.update(MESSAGE).values(intent=PURGED)",
       "test_purge_removes_what_is_old"),
    _m("T18", "an erased address is gone from content, too", "outbox/retention.py",
       '.values(intent=PURGED, content=None, route="[]"', '.values(intent=PURGED, route="[]"',
       "test_erase_leaves_nothing_in_the_file"),
    _m("T18", "counts know no address", "outbox/counts.py",
       "words = _ADDRESS.sub(_BLANK, plain[len(codes) :])", "words = plain[len(codes) :]",
       "test_no_address_is_left"),
    _m("T18", "of an address its domain alone is counted", "outbox/counts.py",
       'return address.rpartition("@")[2].lower()[:_LONGEST]', "return address.lower()[:_LONGEST]",
       "test_of_an_address_the_domain_is_kept"),
    # -- T19: attachments
    _m("T19", "attachments are bytes", "messages/attachments.py",
       "    if isinstance(data, bytes | bytearray | memoryview):",
       '    if isinstance(data, str):\n        return open(data, "rb").read()\n'
       "    if isinstance(data, bytes | bytearray | memoryview):",
       "test_t19_attachments_are_bytes_only"),
)  # fmt: skip
