# SPDX-License-Identifier: Apache-2.0
"""Who acts: people, service accounts, tokens and certificates, as kubectl 1.20 and gabbro use them."""
import base64
import json
import shutil
import signal
import sqlite3
import subprocess
import threading

import pytest
from conftest import BIN, Kubectl, start

PASSWORD = "planted-Passw0rd-rose"
SECOND = "planted-Passw0rd-second"
VALUE = "planted-secret-value-4711"


class Person:
    """Somebody with a home folder of his own."""

    def __init__(self, server, folder, config=None):
        self.server, self.folder = server, folder
        self.config = config or folder / "config"
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "KUBECONFIG": str(self.config), "LC_ALL": "C.UTF-8"}
        self.kubectl = Kubectl(server.kind, self.config, folder)

    def run(self, *words, stdin="", code=0):
        done = subprocess.run([BIN / "gabbro", *words], env=self.env, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, cwd=self.folder)
        assert code is None or done.returncode == code, f"gabbro {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def __call__(self, *words, **kwargs):
        return self.run(*words, **kwargs).stdout

    def login(self, name, password=PASSWORD, code=0):
        ca = self.folder / "ca.crt"
        config = json.loads(self.server("config", "view", "--raw", "-o", "json"))["clusters"][0]["cluster"]
        ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
        return self.run("login", name, "--server", config["server"], "--certificate-authority", ca, "--password-stdin", stdin=password + "\n",
                        code=code)


@pytest.fixture
def admin(server, tmp_path):
    return Person(server, tmp_path, server.config)


@pytest.fixture
def rose(server, admin, tmp_path):
    """A user who has logged in."""
    admin("user", "create", "rose", "--display-name", "Rose", "--group", "staff", "--password-stdin", stdin=PASSWORD + "\n")
    (tmp_path / "rose").mkdir()
    person = Person(server, tmp_path / "rose")
    person.login("rose")
    yield person
    admin.run("user", "delete", "rose", code=None)


def raw(kubectl, path, body):
    """What newer kubectls send, by the old one's own connection and credentials."""
    return json.loads(kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body)))


def token_of(kubectl, account, **spec):
    """As `kubectl create token` of 1.24 and newer asks for it."""
    path = f"/api/v1/namespaces/{kubectl.namespace}/serviceaccounts/{account}/token"
    return raw(kubectl, path, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"creationTimestamp": None},
                               "spec": {"audiences": None, "expirationSeconds": None, "boundObjectRef": None, **spec},
                               "status": {"token": "", "expirationTimestamp": None}})["status"]["token"]


def refused(text):
    return "Unauthorized" in text or "logged in" in text


def bare(kubectl, folder):
    """A kubeconfig without credentials: kubectl prefers a certificate or token of the file to --token."""
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {}
    path = folder / "bare.kubeconfig"
    path.write_text(json.dumps(config))
    scoped = Kubectl(kubectl.kind, path, folder)
    return scoped


def test_a_service_account_gets_a_token_that_ends_with_it(kubectl, tmp_path):
    kubectl("create", "serviceaccount", "robot")
    token = token_of(kubectl, "robot", expirationSeconds=3600)
    anyone = bare(kubectl, tmp_path)
    name = f"system:serviceaccount:{kubectl.namespace}:robot"
    assert f'User "{name}" cannot list resource "secrets"' in anyone.fails("--token", token, "get", "secrets")
    assert anyone("--token", token, "auth", "can-i", "create", "selfsubjectaccessreviews.authorization.k8s.io").strip() == "yes"
    review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}
    assert raw(kubectl, "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]["user"]["username"] == name
    kubectl("delete", "serviceaccount", "robot")
    assert refused(anyone.fails("--token", token, "get", "secrets"))
    assert raw(kubectl, "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"].get("authenticated") is False


def test_a_user_logs_in_and_out(rose, admin):
    assert rose.config.stat().st_mode & 0o777 == 0o600
    assert not rose.config.with_name("config.lock").exists()
    assert "rose" in rose("whoami") and "staff" in rose("whoami")
    assert 'User "rose" cannot list resource "secrets"' in rose.kubectl.fails("get", "secrets")
    assert "rose" in admin("user", "list") and "staff" in admin("user", "groups", "rose")
    token = json.loads(rose.kubectl("config", "view", "--raw", "-o", "json"))["users"][0]["user"]["token"]
    assert token in rose.config.read_text()
    rose("logout")
    assert token not in rose.config.read_text()
    assert refused(bare(rose.kubectl, rose.folder).fails("--token", token, "get", "secrets"))
    assert "wrong" in rose.login("rose", "not-the-password", code=4).stderr


def test_a_kubeconfig_is_changed_whole_and_by_one_at_a_time(rose):
    before = rose.config.read_text()
    lock = rose.config.with_name("config.lock")
    lock.touch()
    assert str(lock) in rose.login("rose", code=1).stderr
    assert rose.config.read_text() == before
    lock.unlink()
    config = json.loads(rose.kubectl("config", "view", "--raw", "-o", "json"))
    config["contexts"].append({"name": "mine", "context": {"cluster": "elsewhere", "user": "me"}})
    config["clusters"].append({"name": "elsewhere", "cluster": {"server": "https://192.0.2.1:6443"}})
    rose.config.write_text(json.dumps(config))
    real = rose.config.rename(rose.config.with_name("real"))
    rose.config.symlink_to(real)
    rose.login("rose")
    after = json.loads(rose.kubectl("config", "view", "--raw", "-o", "json"))
    assert rose.config.is_symlink() and real.stat().st_mode & 0o777 == 0o600
    assert sorted(c["name"] for c in after["contexts"]) == sorted(c["name"] for c in config["contexts"])
    assert "rose" in rose("whoami")


def test_attack_16_a_disabled_user_is_refused_at_once_and_watches_end(rose, admin):
    admin("user", "groups", "rose", "--add", "gabbro:administrators")
    with rose.kubectl.popen("get", "namespaces", "--watch") as watch:
        assert "NAME" in watch.line()
        admin("user", "disable", "rose")
        assert refused(rose.kubectl.fails("get", "namespaces"))
        while watch.lines.get(timeout=20) is not None:
            pass
    assert "wrong" in rose.login("rose", code=4).stderr
    admin("user", "enable", "rose")
    rose.kubectl("get", "namespaces")


def test_a_new_password_ends_the_sessions(rose, admin):
    token = rose("token", "create", "--note", "script").strip()
    rose("user", "passwd", "--password-stdin", stdin=f"{PASSWORD}\n{SECOND}\n")
    assert rose.run("whoami", code=4)
    assert "wrong" in rose.login("rose", PASSWORD, code=4).stderr
    rose.login("rose", SECOND)
    assert "script" in rose("token", "list")
    rose("token", "revoke", token)
    assert "script" not in rose("token", "list")
    admin("user", "passwd", "rose", "--password-stdin", stdin=PASSWORD + "\n")
    assert rose.run("whoami", code=4)
    assert "at least 8" in admin.run("user", "passwd", "rose", "--password-stdin", stdin="short\n", code=1).stderr


def test_a_certificate_acts_for_its_user_until_it_is_revoked(rose, admin):
    text = admin("user", "certificate", "rose", "--to", rose.folder / "cert.kubeconfig", "--ttl", "3600")
    assert (rose.folder / "cert.kubeconfig").stat().st_mode & 0o777 == 0o600
    assert "is there already" in admin.run("user", "certificate", "rose", "--to", rose.folder / "cert.kubeconfig", code=2).stderr
    holder = Person(rose.server, rose.folder, rose.folder / "cert.kubeconfig")
    assert 'User "rose" cannot list resource "secrets"' in holder.kubectl.fails("get", "secrets")
    assert "Certificate" in holder("whoami")
    admin("token", "revoke", text.split()[1])
    assert refused(holder.kubectl.fails("get", "secrets"))


def test_attack_17_nobody_acts_as_another(rose, admin):
    for kubectl in rose.kubectl, Kubectl("gateway", admin.config, admin.folder):
        for words in (("--as", "gabbro:admin"), ("--as", "rose", "--as-group", "gabbro:administrators")):
            assert "impersonation is not served" in kubectl.fails("get", "--raw", "/api/v1/namespaces", *words)
    token = rose("token", "create").strip()
    other = rose.run("token", "create", "--token", token, code=1)
    assert "a token makes no tokens" in other.stderr
    assert "only administrators" in rose.run("token", "create", "--user", "nobody", code=1).stderr
    assert "cannot" in rose.run("user", "passwd", "rose", "--password-stdin", stdin=PASSWORD + "\n", code=1).stderr
    assert "cannot" in rose.run("user", "groups", "rose", "--add", "gabbro:administrators", code=1).stderr
    assert "begin with gabbro: or system:" in admin.run("user", "groups", "rose", "--add", "system:masters", code=1).stderr


def test_attack_37_the_audit_log_is_listed_and_its_changes_are_found(rose, admin, server):
    log = server.folder / "data/audit.log"
    rose.kubectl.fails("get", "secrets")
    rows = admin("audit", "list", "--file", log, "--user", "rose", "--refused", "--resource", "secrets").splitlines()
    assert rows[0].split()[0] == "TIME" and len(rows) > 1 and all(" rose " in row and " no " in row for row in rows[1:])
    lines = [json.loads(line) for line in admin("audit", "list", "--data-dir", log.parent, "--user", "rose", "--since", "1h", "-o", "json").splitlines()]
    assert any(line.get("path") == "/auth/v1/login" and line["status"] == 201 for line in lines)
    assert admin("audit", "list", "--file", log, "--user", "rose", "--since", "2126-01-01T00:00:00Z", "-o", "json") == ""
    copy = rose.folder / "audit.log"
    shutil.copy(log, copy)
    assert "the chain is whole" in admin("audit", "verify", "--file", copy)
    text = copy.read_bytes()
    whole = text.splitlines(keepends=True)[:-1]
    for changed in (whole[:2] + whole[3:], whole[:2] + [whole[3], whole[2]] + whole[4:], whole[:2] + [whole[2].replace(b'"verb"', b'"verC"', 1)] + whole[3:]):
        copy.write_bytes(b"".join(changed))
        assert "line 3:" in admin.run("audit", "verify", "--file", copy, code=1).stderr
    copy.write_bytes(b"".join(whole[:5]))
    copy.with_name("audit.log.checkpoint").write_text(json.dumps({"lines": 6, "bytes": 6000, "digest": "0" * 64}))
    assert "line 6: it is missing" in admin.run("audit", "verify", "--file", copy, code=1).stderr


def every_stream(kubectl):
    """What an administrator can be told, in every form."""
    kinds = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    yield "objects", kubectl("get", ",".join(kind for kind in kinds if kind != "secrets"), "-A", "-o", "yaml")
    yield "describe", kubectl("describe", "secrets,users.gabbro.dev", "-A")
    for path in ("/metrics", "/auth/v1/tokens?all=true", "/apis/gabbro.dev/v1/users?watch=true&timeoutSeconds=1"):
        yield path, kubectl("get", "--raw", path)


def test_attack_35_no_secret_is_in_any_file_or_stream(rose, admin, server, kubectl):
    """I9: what was planted is sought in every file of the gateway and in everything that it tells."""
    token = rose("token", "create", "--note", "a note").strip()
    session = json.loads(rose.kubectl("config", "view", "--raw", "-o", "json"))["users"][0]["user"]["token"]
    kubectl("create", "serviceaccount", "robot")
    account = token_of(kubectl, "robot")
    with kubectl.popen("get", "events", "--watch") as events, kubectl.popen("get", "users.gabbro.dev", "--watch", "-o", "yaml") as users:
        kubectl("create", "secret", "generic", "planted", f"--from-literal=key={VALUE}")
        kubectl("create", "secret", "generic", "other", f"--from-literal=key={VALUE}", "--dry-run=server")
        kubectl("label", "secret", "planted", "a=b")
        rose.kubectl.fails("get", "secret", "planted", "-n", kubectl.namespace)
        rose.login("rose", "planted-wrong-password", code=4)
        rose.login("planted-password-as-name", "planted-wrong-password", code=4)
        rose("user", "passwd", "--password-stdin", stdin=f"{PASSWORD}\n{SECOND}\n")
        admin("user", "groups", "rose", "--add", "more")
        seen = [users.line()]
        while seen[-1].strip() != "- more":
            seen.append(users.line())
        kubectl("delete", "secret", "planted")
        watched = "".join(seen + [line for line in list(events.lines.queue) + list(users.lines.queue) if line])
    planted = [PASSWORD, SECOND, VALUE, "planted-", "$y$"] + [text.split(".")[2] for text in (token, session, account)]
    sought = [text.encode() for text in planted] + [base64.b64encode(text.encode())[:-4] for text in planted if len(text) > 8]
    admin_token = json.loads(kubectl("config", "view", "--raw", "-o", "json"))["users"][0]["user"]["token"]
    found = []
    files = [path for path in server.folder.rglob("*") if path.is_file() and path.suffix != ".kubeconfig" and "cache" not in path.parts]
    assert {"store.db", "audit.log", "revoked.log", "server.log"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        found += [(path.name, form) for form in sought + [admin_token.split(".")[2].encode()] if form in content]
    for name, text in list(every_stream(kubectl)) + [("watches", watched), ("audit", admin("audit", "list", "--file", server.folder / "data/audit.log"))]:
        found += [(name, form) for form in sought if form in text.encode()]
    assert found == []


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_attack_33_an_old_backup_revives_nothing_that_was_revoked(tmp_path):
    process, config = start("gateway", tmp_path)
    server = Kubectl("gateway", config, tmp_path)
    admin = Person(server, tmp_path, config)
    data = tmp_path / "data"
    listen = json.loads(server("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"].removeprefix("https://")
    argv = [BIN / "gabbro-gateway", "--data-dir", data, "--listen", listen]
    try:
        admin("user", "create", "rose", "--password-stdin", stdin=PASSWORD + "\n")
        leaked, kept = [admin("token", "create", "--user", "rose", "--note", note).strip() for note in ("leaked", "kept")]
        with sqlite3.connect(data / "store.db") as there, sqlite3.connect(tmp_path / "backup.db") as copy:
            there.backup(copy)
        admin("token", "revoke", leaked)
        admin("user", "passwd", "rose", "--password-stdin", stdin=SECOND + "\n")
        stop(process)
        for old in data.glob("store.db*"):
            old.unlink()
        shutil.copy(tmp_path / "backup.db", data / "store.db")
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "serving" in line:
                break
        assert any("made again" in line and "2" in line for line in seen), seen
        threading.Thread(target=process.stderr.read, daemon=True).start()
        anyone = bare(server, tmp_path)
        assert refused(anyone.fails("--token", leaked, "get", "namespaces"))
        assert 'User "rose"' in anyone.fails("--token", kept, "get", "namespaces")
        assert "wrong" in admin.login("rose", PASSWORD, code=4).stderr
        stop(process)
        done = subprocess.run([*argv, "--restored"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0 and "credentials ended" in done.stdout, done
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        while "serving" not in process.stderr.readline():
            assert process.poll() is None
        threading.Thread(target=process.stderr.read, daemon=True).start()
        assert refused(anyone.fails("--token", kept, "get", "namespaces"))
        assert "gabbro:admin" in Person(server, tmp_path, config)("whoami")
    finally:
        if process.poll() is None:
            stop(process)
