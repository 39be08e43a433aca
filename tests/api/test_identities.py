# SPDX-License-Identifier: Apache-2.0
"""Who acts: people, service accounts, tokens and certificates, as kubectl 1.20 and gabbro use them."""
import json


def raw(kubectl, verb, path, body):
    """What newer kubectls send, by the old one's own connection and credentials."""
    return json.loads(kubectl(verb, "--raw", path, "-f", "-", stdin=json.dumps(body)))


def token_of(kubectl, account, **spec):
    path = f"/api/v1/namespaces/{kubectl.namespace}/serviceaccounts/{account}/token"
    # As `kubectl create token` of 1.24 and newer sends it.
    return raw(kubectl, "create", path, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"creationTimestamp": None},
                                         "spec": {"audiences": None, "expirationSeconds": None, "boundObjectRef": None, **spec},
                                         "status": {"token": "", "expirationTimestamp": None}})["status"]["token"]


def test_a_service_account_gets_a_token_that_ends_with_it(kubectl):
    kubectl("create", "serviceaccount", "robot")
    assert kubectl.json("serviceaccounts", "robot")["metadata"]["name"] == "robot"
    token = token_of(kubectl, "robot", expirationSeconds=3600)
    name = f"system:serviceaccount:{kubectl.namespace}:robot"
    assert f'User "{name}" cannot list resource "secrets"' in kubectl.fails("--token", token, "get", "secrets")
    assert kubectl("--token", token, "auth", "can-i", "create", "selfsubjectaccessreviews.authorization.k8s.io").strip() == "yes"
    kubectl("delete", "serviceaccount", "robot")
    assert "Unauthorized" in kubectl.fails("--token", token, "get", "secrets") or "logged in" in kubectl.fails("--token", token, "get", "secrets")
