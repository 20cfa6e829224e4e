"""The sign-in: which there are, what each needs, and where its secrets may go."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.outbox import consents, tokens
from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.model import MessagingSettings, Origin, mailbox_of, relay_of
from flask_interaction_mail.settings.relay import SignIn
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.settings.store import SettingsStore
from flask_interaction_mail.storage.tables import REVISION
from tests.canary import GIVEN, PASSWORD, STEM, spellings
from tests.host import Host
from tests.outbox_rows import Store
from tests.servers.keys import certificate_pem, key_pem, service_account_json
from tests.terminal import run

URL = "https://oauth2.example.com/token"
SECRET = f"{STEM}-client-secret"
BASE = {
    "company_domain": "firm.example",
    "smtp_server": "smtp.office365.com",
    "smtp_port": "587",
    "default_to": "stewards",
    "default_from": "crm",
}
APPLICATION = BASE | {
    "sign_in": "oauth_application",
    "oauth_tenant": "contoso.com",
    "oauth_client_id": "client-1",
    "oauth_client_secret": SECRET,
}
ACCOUNT = BASE | {"sign_in": "oauth_service_account"}
KEY = Keyring(["k" * 32])


def store_in(any_store: Store, **options) -> SettingsStore:
    return SettingsStore(any_store, options.pop("keyring", KEY), **options)


def save(any_store: Store, changes, **options):
    return store_in(any_store, **options).save(changes, base=None, changed_by="test")


def stored_texts(any_store: Store) -> str:
    with any_store.reading() as connection:
        return repr(connection.execute(sa.select(REVISION)).all())


def test_an_application_of_microsoft(any_store: Store) -> None:
    """The token URL and the scope follow from the tenant, the mailbox is the default From."""
    save(any_store, APPLICATION)
    settings = store_in(any_store).current().settings
    assert settings.use_authentication
    relay = relay_of(settings)
    assert (relay.by_token, relay.login, relay.secret) == (True, "crm@firm.example", None)
    assert relay.grant is not None
    assert (
        relay.grant.token_url == "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"
    )
    assert relay.grant.scope == "https://outlook.office365.com/.default"
    assert relay.grant.client_secret == Secret(SECRET)
    for canary in spellings(STEM):
        assert canary.decode() not in stored_texts(any_store) + repr(settings) + repr(relay)


def test_another_provider(any_store: Store) -> None:
    """By its URL and scope; the mailbox may be another one."""
    other = {"oauth_tenant": "", "oauth_token_url": URL, "oauth_scope": "send"}
    settings = save(any_store, APPLICATION | other | {"oauth_mailbox": "sales"}).settings
    relay = relay_of(settings)
    assert relay.grant is not None
    assert (relay.grant.token_url, relay.grant.scope) == (URL, "send")
    assert relay.login == "sales@firm.example"


@pytest.mark.parametrize("entered", [None, "https://tokens.example.com/t"])
def test_a_service_account(any_store: Store, entered) -> None:
    """Its key says where tokens come from, unless a URL was entered."""
    key = service_account_json(URL)
    changes = ACCOUNT | {"oauth_service_account": key, "oauth_token_url": entered}
    relay = relay_of(save(any_store, changes).settings)
    assert relay.grant is not None
    assert relay.grant.token_url == (entered or URL)
    assert relay.grant.scope == "https://mail.google.com/"
    assert relay.grant.mailbox == "crm@firm.example"
    stored = stored_texts(any_store)
    assert "PRIVATE KEY" not in stored
    assert "gserviceaccount" not in stored


GROUP = [
    {"smtp_server": "evil.example"},
    {"smtp_port": "25"},
    {"encryption": "tls"},
    {"oauth_tenant": "evil.com"},
    {"oauth_tenant": "", "oauth_token_url": "https://evil.example/token"},
    {"oauth_token_url": "https://evil.example/token"},
]


@pytest.mark.parametrize("change", GROUP)
def test_a_secret_goes_nowhere_else(any_store: Store, change) -> None:
    """Whoever changes where it would go has to know it; edited rows and overrides included."""
    save(any_store, APPLICATION)
    with pytest.raises(SettingsError) as refused:
        save(any_store, change)
    assert "oauth_client_secret" in refused.value.errors
    drafted = store_in(any_store).draft(change)
    assert drafted.settings.oauth_client_secret is None
    assert "Enter the client secret" in drafted.login_advice
    clean = {name: value or None for name, value in change.items()}
    clean |= {"smtp_port": int(clean["smtp_port"])} if "smtp_port" in clean else {}
    overridden = store_in(any_store, overrides=clean).current().settings
    assert overridden.oauth_client_secret is None
    relay = relay_of(overridden)
    assert relay.grant is not None
    assert not relay.grant.complete
    saved = save(any_store, change | {"oauth_client_secret": SECRET})
    assert saved.settings.oauth_client_secret == Secret(SECRET)


MAILBOX = {"returns_server": "imap.office365.com", "returns_sign_in": "relay"}


def test_the_secret_of_a_sign_in_is_bound_to_the_mailbox_as_well(any_store: Store) -> None:
    """Its tokens are shown to the IMAP server, too: who changes that has to know the secret."""
    save(any_store, APPLICATION)
    changes: list[dict[str, str]] = [MAILBOX, {"returns_server": "evil.example"}]
    changes += [{"returns_port": "143"}, {"returns_encryption": "starttls"}]
    rows = set[str]()
    for change in changes:
        with pytest.raises(SettingsError) as refused:
            save(any_store, change)
        assert "oauth_client_secret" in refused.value.errors
        found = save(any_store, change | {"oauth_client_secret": SECRET}).settings
        mailbox = mailbox_of(found)
        assert mailbox is not None
        assert mailbox.relay is not None
        assert (mailbox.relay.grant, mailbox.secret) == (relay_of(found).grant, None)
        assert mailbox.login == "crm@firm.example"
        rows |= {tokens.name_of(KEY, mailbox.relay), consents.name_of(mailbox.relay)}
        evil = {"returns_server": "other.example"}
        assert store_in(any_store, overrides=evil).current().settings.oauth_client_secret is None
    assert len(rows) == 2 * len(changes)  # a token, or a consent, for one place is none for another


def test_the_secret_of_another_relay_has_nothing_to_do_with_the_mailbox(any_store: Store) -> None:
    """The token of "default" alone is shown there; that other one goes on as it is."""
    own = {name: value for name, value in APPLICATION.items() if name not in BASE}
    backup = {f"relays.backup.{name}": value for name, value in own.items()}
    backup["relays.backup.smtp_server"] = "two.example"
    save(any_store, APPLICATION | backup | {"relays": ("default", "backup")})
    found = save(any_store, MAILBOX | {"oauth_client_secret": SECRET}).settings
    assert found.with_relay("backup").oauth_client_secret == Secret(SECRET)
    other = save(any_store, {"relays.backup.oauth_client_secret": SECRET}).settings
    for settings in (found, other, other.with_relay("backup")):
        mailbox = mailbox_of(settings)
        assert mailbox is not None
        assert mailbox.relay == relay_of(found)


@pytest.mark.parametrize(
    "change", [{"smtp_server": "evil.example"}, {"oauth_token_url": "https://evil.example/t"}]
)
def test_a_key_goes_nowhere_else(any_store: Store, change) -> None:
    """The same for a service account."""
    save(any_store, ACCOUNT | {"oauth_service_account": service_account_json(URL)})
    assert store_in(any_store).current().settings.oauth_service_account is not None
    drafted = store_in(any_store).draft(change)
    assert drafted.settings.oauth_service_account is None
    assert "oauth_service_account" in drafted.problems


def test_a_blank_secret_stays(any_store: Store) -> None:
    """What it is not bound to may change."""
    save(any_store, APPLICATION)
    changes = {"oauth_client_secret": "", "oauth_expires": "2099-01-01", "default_to": "desk"}
    assert save(any_store, changes).settings.oauth_client_secret == Secret(SECRET)
    history = store_in(any_store).history()
    assert history[0].changed == ("default_to", "oauth_expires") or set(history[0].changed) == {
        "default_to",
        "oauth_expires",
    }
    assert "oauth_client_secret" in history[1].changed
    assert SECRET not in repr(history)


def test_a_certificate_takes_the_place_of_a_secret(any_store: Store) -> None:
    """And the other way round: there is one of them."""
    save(any_store, APPLICATION)
    pem = certificate_pem() + key_pem()
    saved = save(any_store, {"oauth_certificate": pem}).settings
    assert saved.oauth_client_secret is None
    assert saved.oauth_certificate is not None
    saved = save(any_store, {"oauth_client_secret": SECRET}).settings
    assert (saved.oauth_client_secret, saved.oauth_certificate) == (Secret(SECRET), None)
    with pytest.raises(SettingsError, match="not both"):
        save(any_store, {"oauth_client_secret": SECRET, "oauth_certificate": pem})


def test_a_restored_revision_brings_its_secret(any_store: Store) -> None:
    """It is used where it was entered for."""
    save(any_store, APPLICATION)
    save(any_store, {"sign_in": "none"})
    assert not store_in(any_store).current().settings.use_authentication
    restored = store_in(any_store).restore(1, changed_by="test")
    assert restored.settings.oauth_client_secret == Secret(SECRET)
    assert restored.settings.by_token


def test_keys_can_change(any_store: Store) -> None:
    """All secrets of all revisions are encrypted anew, and an unreadable one is as none."""
    save(any_store, APPLICATION)
    both = Keyring(["new", "k" * 32])
    assert store_in(any_store, keyring=both).rotate_keys() == 1
    assert store_in(any_store, keyring=both).rotate_keys() == 0
    found = store_in(any_store, keyring=Keyring(["new"])).current()
    assert found.settings.oauth_client_secret == Secret(SECRET)
    lost = store_in(any_store, keyring=Keyring(["other"])).current()
    assert lost.settings.oauth_client_secret is None


# -- what was there before means the same --------------------------------------------------

PASSWORDS = BASE | {"use_authentication": "y", "login": "crm", "password": PASSWORD}


def test_what_was_stored_before_is_a_password(any_store: Store) -> None:
    """A row without a sign-in, and one without authentication."""
    saved = save(any_store, PASSWORDS)
    assert "sign_in" not in stored_texts(any_store)
    assert (saved.settings.sign_in, saved.settings.by_password) == (SignIn.PASSWORD, True)
    relay = relay_of(saved.settings)
    assert (relay.use_authentication, relay.login, relay.secret) == (True, "crm", Secret(PASSWORD))
    assert (relay.by_token, relay.grant) == (False, None)


def test_overrides_from_before_are_a_password(any_store: Store) -> None:
    """Whatever is stored below them."""
    save(any_store, APPLICATION)
    overrides = {"use_authentication": True, "login": "crm", "password": Secret(PASSWORD)}
    overrides |= {"smtp_server": "smtp.office365.com", "smtp_port": 587}
    found = store_in(any_store, overrides=overrides).current()
    assert (found.settings.by_password, found.settings.password) == (True, Secret(PASSWORD))
    assert found.origins["sign_in"] is Origin.OVERRIDE
    off = store_in(any_store, overrides={"use_authentication": False}).current()
    assert not relay_of(off.settings).use_authentication


def test_mail_keys_from_before_are_a_password(any_store: Store) -> None:
    """As long as nothing is stored; what is stored decides then."""
    fallback = {"smtp_server": "m.x", "use_authentication": True, "login": "a", "password": None}
    found = store_in(any_store, config_fallback=fallback).current()
    assert found.settings.by_password
    assert found.origins["sign_in"] is Origin.DEFAULT
    save(any_store, APPLICATION)
    assert store_in(any_store, config_fallback=fallback).current().settings.by_token


@pytest.mark.parametrize(
    ("changes", "authentication", "sign_in"),
    [
        ({"sign_in": "none"}, False, "oauth_application"),
        ({"sign_in": "none", "use_authentication": "y"}, False, "oauth_application"),
        ({"use_authentication": ""}, False, "oauth_application"),
        ({"sign_in": "host"}, True, "host"),
        ({"sign_in": "host", "use_authentication": ""}, False, "host"),
    ],
)
def test_whether_and_how_agree(any_store: Store, changes, authentication, sign_in) -> None:
    """Either of them says both, and an unticked box is stronger than a word."""
    save(any_store, APPLICATION)
    saved = save(any_store, changes).settings
    assert (saved.use_authentication, saved.sign_in) == (authentication, sign_in)


def test_a_test_from_before_counts_on() -> None:
    """Its fingerprint depends on a token only where one is used."""
    before = MessagingSettings(smtp_server="m.x", use_authentication=True, login="a", password="b")
    found = KEY.fingerprint(before)
    assert found == KEY.fingerprint(
        MessagingSettings(
            smtp_server="m.x",
            use_authentication=True,
            login="a",
            password="b",
            oauth_scope="x",
            oauth_client_secret="y",
        )
    )
    tokens = [
        MessagingSettings(use_authentication=True, sign_in="host"),
        *(
            MessagingSettings(use_authentication=True, sign_in="oauth_application", **changes)
            for changes in ({}, {"oauth_client_secret": "y"}, {"oauth_scope": "x"})
        ),
    ]
    assert len({KEY.fingerprint(settings) for settings in tokens}) == 4


# -- what is wrong is said at its field -----------------------------------------------------

WRONG = {
    "nothing": ({}, {"oauth_tenant", "oauth_client_id", "oauth_client_secret"}),
    "a tenant pasted as URL": (
        APPLICATION | {"oauth_tenant": "https://login.microsoftonline.com/contoso.com/"},
        {"oauth_tenant"},
    ),
    "a scope without .default": (
        APPLICATION | {"oauth_scope": "https://outlook.office365.com/SMTP.Send"},
        {"oauth_scope"},
    ),
    "http": (APPLICATION | {"oauth_token_url": "http://x.example/token"}, {"oauth_token_url"}),
    "a login in the URL": (
        APPLICATION | {"oauth_token_url": "https://a:b@x.example/token"},
        {"oauth_token_url"},
    ),
    "a day": (APPLICATION | {"oauth_expires": "soon"}, {"oauth_expires"}),
    "no encryption": (APPLICATION | {"encryption": "none"}, {"encryption"}),
    "an account without a key": (ACCOUNT, {"oauth_service_account"}),
    "JSON of another kind": (
        ACCOUNT | {"oauth_service_account": '{"installed": {}}'},
        {"oauth_service_account"},
    ),
    "a key with a password": (
        APPLICATION | {"oauth_certificate": certificate_pem() + key_pem(password="x")},
        {"oauth_certificate"},
    ),
    "an unknown word": (BASE | {"sign_in": "magic"}, {"sign_in"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named_and_nothing_is_stored(any_store: Store, name) -> None:
    """All or nothing, and no secret in the text."""
    changes, fields = WRONG[name]
    if not changes:
        changes = BASE | {"sign_in": "oauth_application"}
    with pytest.raises(SettingsError) as refused:
        save(any_store, changes)
    assert set(refused.value.errors) == fields
    assert STEM not in str(refused.value)
    assert store_in(any_store).current().revision == 0


# -- on the command line --------------------------------------------------------------------


def test_the_command_line_takes_secrets_from_files_and_input(tmp_path) -> None:
    """Never as an argument; the key of an account has many lines."""
    host = Host(f"sqlite:///{tmp_path}/crm.sqlite")
    try:
        host.configure()
        path = tmp_path / GIVEN / "key.json"
        path.parent.mkdir()
        path.write_text(service_account_json(URL), "utf-8")
        common = ("settings", "set", "--encryption", "tls", "--sign-in", "oauth_service_account")
        done = run(host, *common, "--oauth-service-account-file", str(path))
        path.unlink()  # what this test has written itself is no leak
        assert done.status == 0, done.err
        shown = run(host, "settings", "show").out
        assert "oauth_service_account" in shown
        assert "PRIVATE" not in shown
        told = json.loads(run(host, "settings", "show", "--json").out)
        assert told["settings"]["oauth_service_account"]["value"] is None
        done = run(
            host,
            *("settings", "set", "--sign-in", "oauth_application", "--oauth-tenant", "c.com"),
            *("--oauth-client-id", "x", "--oauth-client-secret-stdin"),
            typed=f"{SECRET}\n",
        )
        assert done.status == 0, done.err
        pem = certificate_pem() + key_pem()
        done = run(host, "settings", "set", "--oauth-certificate-stdin", typed=pem)
        assert done.status == 0, done.err
        with host.app.app_context():
            settings = host.state.settings.current().settings
        assert settings.oauth_certificate is not None
        assert settings.oauth_client_secret is None
        missing = run(host, "settings", "set", "--oauth-certificate-file", f"{tmp_path}/none.pem")
        assert (missing.status, "cannot be read" in missing.err) == (1, True)
        history = run(host, "settings", "history").out
        assert "oauth_certificate" in history
    finally:
        host.close()


def test_the_end_of_a_secret_is_told_three_times(tmp_path) -> None:
    """30, 14 and 3 days before, and once when it has ended; over when there is a new one."""
    from flask_interaction_mail.delivery import watch
    from flask_interaction_mail.signals import messaging_alert

    heard = []

    def hear(_, alert):
        heard.append((alert.name, alert.state, alert.text))

    host = Host(f"sqlite:///{tmp_path}/crm.sqlite", INTERACTION_MAIL_DELIVERY="worker")
    try:
        host.configure(**APPLICATION, encryption="starttls")
        with messaging_alert.connected_to(hear):
            for days in (31, 29.5, 13.5, 2.5, -1, 400):
                ends = clock.now() + timedelta(days=days)
                host.configure(encryption="starttls", **BASE, oauth_expires=f"{ends:%Y-%m-%d}")
                for _ in range(2):
                    watch.check(host.state)
        texts = [text for _, _, text in heard if "within" in text]
        assert [text.split("within ")[1] for text in texts] == ["30 days.", "14 days.", "3 days."]
        assert "has ended" in heard[-2][2]
        assert [name for name, _, _ in heard] == ["secret"] * 5
    finally:
        host.close()
