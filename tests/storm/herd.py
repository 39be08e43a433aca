# SPDX-License-Identifier: Apache-2.0
"""Hosts as a gateway sees them: certificates of their own, a stream on their manifest, leases, reports; all on one event loop."""
import asyncio
import concurrent.futures
import json
import ssl
import subprocess
import time

PAUSE_FIRST_S, PAUSE_LAST_S = 0.25, 15  # as the agent waits
RENEW_S = 10
READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "AgentRunning", "message": "a host of a test"}],
         "capacity": {"cpu": "4", "memory": "8Gi"}, "allocatable": {"cpu": "4", "memory": "8Gi"}}


class Agent:
    def __init__(self, gateway, folder, name):
        self.gateway, self.name = gateway, name
        self.key, self.crt = folder / f"{name}.key", folder / f"{name}.crt"
        self.joined = self.connected = 0  # how often it was in sync
        self.refusals = []  # answers that were not 200
        self.writers = set()

    def join(self):
        argv = ["openssl", "req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", self.key,
                "-subj", f"/CN={self.name}"]
        csr = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        status, body = self.gateway.ask("POST", "/admin/v1/join-tokens", {})
        assert status == 201, body
        status, body = self.gateway.ask("POST", "/agent/v1/join", {"token": json.loads(body)["token"], "nodeName": self.name,
                                                                   "protocol": 1, "csr": csr, "addresses": []})
        assert status == 200, body
        self.crt.write_text(json.loads(body)["certificate"])
        self.tls = ssl.create_default_context(cadata=self.gateway.ca)
        self.tls.load_cert_chain(self.crt, self.key)

    async def open(self, method, path, body=None):
        """Reader and writer after the head of a 200; None: refused."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port, ssl=self.tls, server_hostname="127.0.0.1")
        self.writers.add(writer)
        data = b"" if body is None else json.dumps(body).encode()
        writer.write((f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {len(data)}\r\n\r\n").encode() + data)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                self.refusals.append(head.split(b"\r\n")[0].decode())
                raise ConnectionError("refused")
        except BaseException:  # also when it is cancelled: a connection that nobody closes is the gateway's to bear
            self.close(writer)
            raise
        return reader, writer

    def close(self, writer):
        self.writers.discard(writer)
        writer.transport.abort()  # as a process that ends; an orderly end of TLS has asyncio wait 30 s for the other side's

    async def put(self, path, body):
        _, writer = await self.open("PUT", path, body)
        self.close(writer)

    async def renew(self):
        while True:
            await self.put("/agent/v1/lease", {})
            await asyncio.sleep(RENEW_S)

    async def stay(self):
        """Until the stream ends."""
        reader, writer = await self.open("GET", "/agent/v1/manifest?watch=1")
        try:
            while b"SYNCED" not in await reader.readline():
                if reader.at_eof():
                    raise ConnectionError("ended")
            await self.put("/agent/v1/lease", {})
            await self.put("/agent/v1/node", READY)
            self.connected += 1
            renewing = asyncio.create_task(self.renew())
            try:
                while await reader.readline():
                    pass
            finally:
                renewing.cancel()
        finally:
            self.close(writer)

    async def run(self):
        failures = 0
        while True:
            before = self.connected
            try:
                await self.stay()
            except (OSError, EOFError, asyncio.IncompleteReadError, ssl.SSLError):
                pass
            failures = 0 if self.connected != before else failures + 1
            await asyncio.sleep(min(PAUSE_FIRST_S * 2 ** failures, PAUSE_LAST_S))


class Herd:
    def __init__(self, gateway, folder, n):
        self.agents = [Agent(gateway, folder, f"host-{i:03}") for i in range(n)]
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(Agent.join, self.agents))
        self.joined_s = time.monotonic() - begun

    async def begin(self):
        self.tasks = [asyncio.create_task(agent.run()) for agent in self.agents]

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def cut(self):
        """All connections break at once."""
        for agent in self.agents:
            for writer in list(agent.writers):
                writer.transport.abort()

    async def all_in_sync(self, times, seconds):
        """Until each was in sync @times times. Return: seconds it took."""
        begun = time.monotonic()
        while any(agent.connected < times for agent in self.agents):
            missing = [agent.name for agent in self.agents if agent.connected < times]
            assert time.monotonic() < begun + seconds, f"{len(missing)} are not served within {seconds} s: {missing[:5]}"
            await asyncio.sleep(0.02)
        return time.monotonic() - begun
