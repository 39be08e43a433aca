# SPDX-License-Identifier: Apache-2.0
"""Machines move between hosts while they run."""
import subprocess

# --- who may speak to a host (A19) ---------------------------------------------------------------------------------------------------


def openssl(*argv):
    subprocess.run(["openssl", *map(str, argv)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def client_keys(folder, ca, ca_key, trust):
    """A folder as libvirt's client wants it: a certificate signed by @ca, that believes @trust."""
    folder.mkdir()
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "clientkey.pem", "-out", folder / "csr", "-subj",
            "/O=gabbro:nodes/CN=gabbro:node:lab-h1")
    (folder / "ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                                "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:10.77.0.2\n")
    openssl("x509", "-req", "-in", folder / "csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-CAserial", folder / "serial", "-days", "2",
            "-extfile", folder / "ext", "-out", folder / "clientcert.pem")
    (folder / "cacert.pem").write_bytes(trust.read_bytes())
    return folder


def libvirt_of(lab, there, keys):
    """What comes of calling the libvirt of another host from h1, with the certificate in @keys."""
    return lab.hosts[0].run("virsh", "-c", f"qemu+tls://{there.address}/system?pkipath={keys}", "list", check=False)


def test_A19_hosts_speak_with_certificates_of_their_own_authority_alone(lab, tmp_path):
    there, keys = lab.hosts[1], lab.hosts[0].demo / "agent/migration"
    assert libvirt_of(lab, there, keys).returncode == 0
    trust = keys / "ca-cert.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca.crt", "-days", "2", "-subj",
            "/CN=foreign")
    pki = lab.gateway.demo / "gateway/pki"
    for name, ca, ca_key in (("foreign", tmp_path / "ca.crt", tmp_path / "ca.key"), ("api", pki / "ca.crt", pki / "ca.key")):
        refused = libvirt_of(lab, there, client_keys(tmp_path / name, ca, ca_key, trust))
        assert refused.returncode and "TLS" in refused.stderr + refused.stdout or "certificate" in refused.stderr, (name, refused)
    own = client_keys(tmp_path / "own", pki / "hosts/ca.crt", pki / "hosts/ca.key", trust)
    assert libvirt_of(lab, there, own).returncode == 0  # the folders above fail for their signer alone


def test_A19_a_host_whose_libvirt_is_not_set_up_says_what_is_missing(lab):
    host = lab.hosts[2]
    conf = host.host / "etc/qemu.conf"
    before = conf.read_text()
    said = {}

    def reason():
        conditions = lab.gateway.get("node", host.node)["status"]["conditions"]
        said.update(next((c for c in conditions if c["type"] == "MigrationReady"), {"reason": None}))
        return said["reason"]

    conf.write_text(before.replace("migrate_tls_x509_cert_dir", "#migrate_tls_x509_cert_dir"))
    host.clock("agent", None)  # begins anew, and looks
    lab.gateway.eventually("it is told", lambda: reason() == "MigrationNotConfigured", 30)
    assert said["status"] == "False" and f'migrate_tls_x509_cert_dir = "{host.demo}/agent/migration"' in said["message"]
    conf.write_text(before)
    host.clock("agent", None)
    lab.gateway.eventually("it is ready again", lambda: reason() == "MigrationReady", 30)
