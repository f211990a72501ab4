#!/usr/bin/env python3
"""A Proof of Compute node in Python: serves matmul tasks for one wallet.

Made from proto/ and docs/reference/protocol.md alone; README.md says how to run it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import os
import platform
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from Crypto.Hash import keccak
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from google.protobuf.message import DecodeError

from proofofcompute.node.v1 import node_pb2 as pb
from proofofcompute.node.v1 import node_pb2_grpc, task_pb2

FIELD = 251
ROWS = 256  # of a product between two looks at Cancel
CHUNK_BYTES = 65_536
FRAME_RESULTS = 16  # so many inline outputs of 64 KiB are the 1 MiB that a frame may have
HANDSHAKE_SECONDS = 15
GOODBYE_SECONDS = 5
STABLE_SECONDS = 60  # a session so long ends a row of replaced ones
CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # the waits between dials are ours, not the library's
]
# Endings after which the same dial would only end in the same way.
REFUSALS = {"BAD_SIGNATURE", "AUDIENCE_REFUSED", "PROTOCOL_VIOLATION", "INVALID_ADDRESS",
            "AUTHORIZATION_REFUSED", "RESOURCE_EXHAUSTED"}
# What writing into a dead stream raises; why it died, its reader learns.
DEAD = (grpc.aio.AioRpcError, asyncio.InvalidStateError)
STOPS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("node")


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the joined parts."""
    return hashlib.sha256(b"".join(parts)).digest()


def hello_message(nonce: bytes, audience: str, node_id: bytes, terms: bytes) -> bytes:
    """What the node key signs in Hello."""
    name = audience.encode()
    return b"".join([b"proof-of-compute/hello/v1", nonce, len(name).to_bytes(2, "big"), name,
                     node_id, sha256(terms)])


def result_message(assignment: pb.Assignment, output: bytes, wallet: bytes) -> bytes:
    """What stands for one result in the Merkle tree of a Results frame."""
    return b"".join([b"proof-of-compute/result/v1", assignment.assignment_id, assignment.task_id,
                     sha256(assignment.spec), sha256(output), wallet])


def merkle_root(messages: list[bytes]) -> bytes:
    """Merkle tree hash of RFC 6962, section 2.1."""
    if len(messages) == 1:
        return sha256(b"\0", messages[0])
    left = 1 << (len(messages) - 1).bit_length() - 1
    return sha256(b"\1", merkle_root(messages[:left]), merkle_root(messages[left:]))


def results_message(messages: list[bytes]) -> bytes:
    """What the node key signs in Results."""
    return b"proof-of-compute/results/v1" + merkle_root(messages)


def seed_of(assignment: pb.Assignment, node_id: bytes) -> bytes:
    """The seed S from which all matrices of an assignment follow."""
    return sha256(b"proof-of-compute/seed/v1", assignment.assignment_id, assignment.task_id,
                  node_id, sha256(assignment.spec))


def matrix(seed: bytes, index: int, n: int) -> np.ndarray:
    """Matrix A_index (from 1) of a seed: n x n bytes below 251."""
    key = sha256(b"proof-of-compute/matmul/v1", seed, index.to_bytes(4, "big"))[:16]
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(n * n))
    return (np.frombuffer(stream, np.uint8) % np.uint8(FIELD)).reshape(n, n)


def product(seed: bytes, n: int, k: int, report: Callable[[float], bool]) -> bytes | None:
    """A_1 A_2 ... A_k; None once `report`, which is told the fraction done, says to stop.

    Float64 is exact here: every sum stays below 250 * 250 * 4096, far below 2^53.
    """
    result = matrix(seed, 1, n)
    for index in range(2, k + 1):
        factor = matrix(seed, index, n).astype(np.float64)
        for row in range(0, n, ROWS):
            rows = slice(row, min(row + ROWS, n))
            sums = result[rows].astype(np.float64) @ factor
            result[rows] = sums.astype(np.int32) % FIELD
            if not report((index - 2 + rows.stop / n) / (k - 1)):
                return None
    return result.tobytes()


def parse_address(text: str) -> bytes:
    """The 20 bytes of an address, 0x... or xdc..., its EIP-55 checksum checked."""
    digits = text.removeprefix("0x" if text.startswith("0x") else "xdc")
    lower = digits.lower()
    if len(digits) != 40 or len(text) == 40 or not set(lower) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError("not 0x or xdc and 40 hex digits")
    nibbles = keccak.new(digest_bits=256, data=lower.encode()).hexdigest()
    right = "".join(d.upper() if nibble > "7" else d for d, nibble in zip(lower, nibbles))
    if digits not in (lower, lower.upper(), right):
        raise argparse.ArgumentTypeError("wrong checksum: is a digit mistyped?")
    if not int(digits, 16):
        raise argparse.ArgumentTypeError("the zero address cannot earn")
    return bytes.fromhex(digits)


def load_key(path: Path) -> Ed25519PrivateKey:
    """The node key in a PEM file that only its owner may read; made when there is none."""
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    if path.stat().st_mode & 0o077:
        raise ValueError(f"others may read {path}: chmod 600 {path}")
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no ed25519 key")
    return key


def hardware() -> pb.Hardware:
    """This machine, as the nodes list shows it."""
    return pb.Hardware(
        cpu_model=platform.processor() or platform.machine(), cpu_cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        platform=f"{sys.platform}-{platform.machine()}")


@dataclass(eq=False)
class Job:
    """An assignment from its arrival until its result is acknowledged."""

    assignment: pb.Assignment
    fraction: float = 0.0
    output: bytes = b""  # until it is computed
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> bytes:
        """The assignment id."""
        return self.assignment.assignment_id

    def report(self, fraction: float) -> bool:
        """Notes how far the work has come; False asks it to stop."""
        self.fraction = fraction
        return not self.stop.is_set()


class Node:
    """What outlives a session: identity, running work, results without an ack."""

    def __init__(self, options: argparse.Namespace, key: Ed25519PrivateKey) -> None:
        self.options = options
        self.wallet: bytes = options.wallet_address
        self.key = key
        self.node_id = key.public_key().public_bytes_raw()
        self.held: dict[bytes, Job] = {}
        self.empty = asyncio.Event()
        self.empty.set()
        self.session: Session | None = None
        self.spread = 0.0
        self.draining = ""  # why, once it drains
        self.threads = ThreadPoolExecutor(options.slots)
        self.tasks: set[asyncio.Future[None]] = set()

    def terms(self) -> bytes:
        """The HelloTerms of a new session."""
        return pb.HelloTerms(
            version="python-0.1.0", wallet=self.wallet, kinds=[task_pb2.TASK_KIND_MATMUL],
            slots=self.options.slots, hardware=hardware(),
            running_assignment_ids=list(self.held)).SerializeToString()

    def free_slots(self) -> int:
        """How many assignments the node would take now."""
        busy = sum(not job.output for job in self.held.values())
        return 0 if self.draining else max(0, self.options.slots - busy)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Runs work beside the rest; without a reference it might be collected."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def tell(self, **message: Any) -> None:
        """Sends a frame in the open session; the next Hello makes up for one without."""
        if self.session:
            self.spawn(self.session.send(**message))

    def fail(self, assignment_id: bytes, code: pb.FailureCode, detail: str) -> None:
        """Ends an assignment without a result."""
        self.forget(assignment_id)
        self.tell(failure=pb.Failure(assignment_id=assignment_id, code=code, detail=detail[:1000]))

    def forget(self, assignment_id: bytes) -> None:
        """Drops an assignment and its result."""
        self.held.pop(assignment_id, None)
        if not self.held:
            self.empty.set()

    def take(self, assignment: pb.Assignment) -> None:
        """Answers an assignment at once: accepted, or why not."""
        job = Job(assignment)
        if job.id in self.held:
            return
        try:
            spec = task_pb2.TaskSpec.FromString(assignment.spec).matmul
        except DecodeError:
            spec = task_pb2.MatmulSpec()
        if spec.n % 64 or not 64 <= spec.n <= 4096 or not 2 <= spec.k <= 64:
            self.fail(job.id, pb.FAILURE_CODE_UNSUPPORTED, "not a matmul within its limits")
        elif not self.free_slots():
            self.fail(job.id, pb.FAILURE_CODE_BUSY, self.draining or "no free slot")
        else:
            self.held[job.id] = job
            self.empty.clear()
            log.info("accepted %s n=%d k=%d", job.id.hex(), spec.n, spec.k)
            self.tell(progress=pb.Progress(assignment_id=job.id))
            self.spawn(self.compute(job, spec.n, spec.k))

    async def compute(self, job: Job, n: int, k: int) -> None:
        """Computes an output and gives it to the session; without one the next sends it."""
        seed = seed_of(job.assignment, self.node_id)
        try:
            output = await asyncio.get_running_loop().run_in_executor(
                self.threads, product, seed, n, k, job.report)
        except Exception as error:  # memory, most likely: it ends this assignment, not the node
            log.exception("failed %s", job.id.hex())
            self.fail(job.id, pb.FAILURE_CODE_INTERNAL, repr(error))
            return
        if job.id not in self.held:
            return
        if output is None or job.stop.is_set():
            self.fail(job.id, pb.FAILURE_CODE_CANCELLED, "stopped")
            return
        log.info("computed %s", job.id.hex())
        job.output = output
        if self.session:
            self.session.finished.put_nowait(job)

    def cancel(self, assignment_id: bytes) -> None:
        """Stops an assignment; where it runs, the answer follows once it has stopped."""
        job = self.held.get(assignment_id)
        if job and not job.output:
            job.stop.set()
        else:
            self.fail(assignment_id, pb.FAILURE_CODE_CANCELLED, "not running")

    def acknowledge(self, ack: pb.ResultAck) -> None:
        """Forgets a result, whatever the verdict."""
        verdict = "accepted" if ack.verdict == pb.VERDICT_ACCEPTED else "not accepted"
        log.info("%s %s units=%d %s", verdict, ack.assignment_id.hex(), ack.units, ack.reason)
        self.forget(ack.assignment_id)

    async def serve(self) -> int:
        """Holds one session after the other. The exit code: 0 drained, 4 refused for good."""
        coordinators = list(self.options.coordinator)
        failed = replaced = 0
        while coordinators:
            address = coordinators.pop(0)
            dialled = time.monotonic()
            opened, ending, detail = await self.visit(address)
            if self.draining and self.empty.is_set():
                return 0
            log.warning("session with %s ended: %s %s", address, ending, detail)
            if time.monotonic() - dialled > STABLE_SECONDS or ending != "SESSION_REPLACED":
                replaced = 0
            replaced += ending == "SESSION_REPLACED"
            if replaced == 3:
                break
            if ending not in REFUSALS:
                coordinators.append(address)
            failed = 0 if opened and not replaced else failed + 1
            limit = min(30.0, 2.0 ** failed)
            await asyncio.sleep(random.uniform(0, limit if failed else max(limit, self.spread)))
        log.error("giving up: refused for good, or the key is in use elsewhere")
        return 4

    async def visit(self, address: str) -> tuple[bool, str, str]:
        """One session: whether it opened, the code that ended it, and that for people."""
        host = address.rpartition(":")[0]
        if self.options.insecure or host in ("localhost", "[::1]") or host.startswith("127."):
            channel = grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            channel = grpc.aio.secure_channel(
                address, grpc.ssl_channel_credentials(), CHANNEL_OPTIONS)
        opened, ending, detail = False, "OK", ""
        try:
            async with channel:
                session = Session(self, node_pb2_grpc.NodeServiceStub(channel).Connect())
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    await session.open(self.options.audience or address)
                opened = True
                await session.run()
        except grpc.aio.AioRpcError as error:
            metadata = dict(error.trailing_metadata() or ())
            ending = str(metadata.get("proof-of-compute-error", error.code().name))
            detail = error.details() or ""
        except TimeoutError:
            ending, detail = "TIMEOUT", "no Welcome in time"
        except EOFError:
            pass  # the coordinator ended the stream as it should
        return opened, ending, detail

    async def drain(self, reason: str) -> None:
        """Takes no more work, waits for what there is, but not for ever, and leaves."""
        self.draining = reason
        log.info("draining with %d assignments", len(self.held))
        self.tell(draining=pb.Draining(reason=reason))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain_timeout):
                await self.empty.wait()
        for job in list(self.held.values()):
            job.stop.set()
            self.fail(job.id, pb.FAILURE_CODE_BUSY, reason)
        if self.session:
            await self.session.leave()


class Session:
    """One stream, from dialling to its end."""

    def __init__(self, node: Node, call: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        self.node = node
        self.call = call
        self.welcome = pb.Welcome()
        self.finished: asyncio.Queue[Job] = asyncio.Queue()
        self.sent: set[bytes] = set()
        self.reconnect = False
        self.writing = asyncio.Lock()

    async def receive(self) -> pb.CoordinatorFrame:
        """The next frame; EOFError when the coordinator ended the stream."""
        frame = await self.call.read()
        if not isinstance(frame, pb.CoordinatorFrame):
            raise EOFError
        return frame

    async def send(self, **message: Any) -> None:
        """Writes a frame as flow control allows; into a dead stream, nothing."""
        async with self.writing:
            with contextlib.suppress(*DEAD):
                await self.call.write(pb.NodeFrame(**message))

    async def leave(self) -> None:
        """Ends the node's side of the stream."""
        async with self.writing:
            with contextlib.suppress(*DEAD):
                await self.call.done_writing()

    async def open(self, audience: str) -> None:
        """Challenge, Hello, Welcome."""
        nonce = (await self.receive()).challenge.nonce
        node_id, terms = self.node.node_id, self.node.terms()
        signature = self.node.key.sign(hello_message(nonce, audience, node_id, terms))
        await self.send(hello=pb.Hello(
            node_id=node_id, audience=audience, terms=terms, signature=signature))
        self.welcome = (await self.receive()).welcome
        self.node.spread = self.welcome.reconnect_spread_ms / 1000
        log.info("opened session %s", self.welcome.session_id.hex())

    async def run(self) -> None:
        """Serves until the stream ends, beginning with the results that have no ack."""
        self.node.session = self
        if self.node.draining:
            self.node.tell(draining=pb.Draining(reason=self.node.draining))
        for job in self.node.held.values():
            if job.output:
                self.finished.put_nowait(job)
        helpers = [asyncio.ensure_future(work)
                   for work in (self.heartbeats(), self.progress(), self.results())]
        try:
            while True:
                await self.handle(await self.receive())
        finally:
            self.node.session = None
            for helper in helpers:
                helper.cancel()

    async def handle(self, frame: pb.CoordinatorFrame) -> None:
        """Does what a frame says; one of a kind unknown here says nothing."""
        for assignment in frame.assignments.assignments:
            self.node.take(assignment)
        for ack in frame.acks.acks:
            self.node.acknowledge(ack)
        if frame.HasField("cancel"):
            self.node.cancel(frame.cancel.assignment_id)
        if frame.HasField("reconnect"):
            self.node.spread = frame.reconnect.spread_ms / 1000
            self.reconnect = True
        if self.reconnect and self.sent.isdisjoint(self.node.held):
            await self.leave()

    async def heartbeats(self) -> None:
        """One an interval, counted from the one before."""
        sequence = 0
        while True:
            await asyncio.sleep(self.welcome.heartbeat_interval_ms / 1000)
            sequence += 1
            await self.send(heartbeat=pb.Heartbeat(
                sequence=sequence, free_slots=self.node.free_slots(),
                load=min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)),
                running_assignment_ids=list(self.node.held)))

    async def progress(self) -> None:
        """One a second for each assignment that already ran a second ago."""
        running: set[Job] = set()
        while True:
            await asyncio.sleep(1)
            before, running = running, {j for j in self.node.held.values() if not j.output}
            for job in before & running:
                await self.send(progress=pb.Progress(assignment_id=job.id, fraction=job.fraction))

    async def results(self) -> None:
        """Sends what is finished, up to a frame's fill at once; a large output goes ahead in chunks and ends it."""
        limit = min(self.welcome.inline_output_bytes, CHUNK_BYTES)
        while not self.reconnect:
            jobs = [await self.finished.get()]
            while len(jobs) < FRAME_RESULTS and len(jobs[-1].output) <= limit and not self.finished.empty():
                jobs.append(self.finished.get_nowait())
            self.sent.update(job.id for job in jobs)
            for job in jobs:
                if len(job.output) > limit:
                    await self.upload(job)
            jobs = [job for job in jobs if job.id in self.node.held]  # not cancelled meanwhile
            if jobs:
                await self.send(results=self.frame(jobs, limit))

    async def upload(self, job: Job) -> None:
        """Sends an output in chunks, unless it is cancelled meanwhile."""
        for offset in range(0, len(job.output), CHUNK_BYTES):
            if job.id in self.node.held:
                await self.send(output_chunk=pb.OutputChunk(
                    assignment_id=job.id, offset=offset,
                    data=job.output[offset:offset + CHUNK_BYTES]))

    def frame(self, jobs: list[Job], limit: int) -> pb.Results:
        """The signed results of jobs, with the outputs that have at most `limit` bytes."""
        messages = [result_message(job.assignment, job.output, self.node.wallet) for job in jobs]
        results = [
            pb.Result(
                assignment_id=job.id, task_id=job.assignment.task_id,
                spec_digest=sha256(job.assignment.spec), output_digest=sha256(job.output),
                output=job.output if len(job.output) <= limit else b"")
            for job in jobs
        ]
        return pb.Results(
            results=results, signature=self.node.key.sign(results_message(messages)))


def self_test(folder: Path) -> int:
    """Compares what this file computes with the known answers; answers how many differ."""
    cases: list[tuple[str, bytes, str]] = []

    def octets(text: str) -> bytes:
        return bytes.fromhex(text.removeprefix("0x"))

    def assignment(case: dict[str, str]) -> pb.Assignment:
        return pb.Assignment(assignment_id=octets(case["assignmentId"]),
                             task_id=octets(case["taskId"]), spec=octets(case["spec"]))

    for case in json.loads((folder / "matmul.json").read_text()):
        name, n, k = f"matmul {case['n']} {case['k']}", case["n"], case["k"]
        seed = seed_of(assignment(case), octets(case["nodeId"]))
        output = product(seed, n, k, lambda _: True) or b""
        cases += [(f"{name} seed", seed, case["seed"]),
                  (f"{name} A_1", matrix(seed, 1, n)[0, :16].tobytes(),
                   bytes(case["matrix1_first16"]).hex()),
                  (f"{name} product", sha256(output), case["result_sha256"])]
    signing = json.loads((folder / "signing.json").read_text())
    key = Ed25519PrivateKey.from_private_bytes(octets(signing["privateKeySeed"]))
    hello = signing["hello"]
    message = hello_message(octets(hello["nonce"]), hello["audience"],
                            key.public_key().public_bytes_raw(), octets(hello["terms"]))
    cases += [("hello", message, hello["message"]),
              ("hello signature", key.sign(message), hello["signature"])]
    messages = [result_message(assignment(case), octets(case["output"]), octets(case["wallet"]))
                for case in signing["results"]]
    cases += [("result message", made, case["message"])
              for made, case in zip(messages, signing["results"])]
    for size, frame in signing["frames"].items():
        signed = results_message(messages[:int(size)])
        cases += [(f"results message of {size}", signed, frame["message"]),
                  (f"signature of {size}", key.sign(signed), frame["signature"])]
    wrong = [name for name, made, expected in cases if made != octets(expected)]
    print(f"{len(cases) - len(wrong)} of {len(cases)} known answers", *wrong, sep="\nwrong: ")
    return len(wrong)


async def run(options: argparse.Namespace, key: Ed25519PrivateKey) -> int:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once."""
    node = Node(options, key)
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[Any] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        for handled in STOPS:
            loop.remove_signal_handler(handled)
            signal.signal(handled, signal.SIG_DFL)
        stopping.set_result(number.name)

    for number in STOPS:
        loop.add_signal_handler(number, stop, number)
    log.info("node %s earns for 0x%s", node.node_id.hex(), node.wallet.hex())
    serving: asyncio.Future[Any] = asyncio.ensure_future(node.serve())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        await node.drain(stopping.result())
        await asyncio.wait([serving], timeout=GOODBYE_SECONDS if node.session else 0)
    for job in node.held.values():
        job.stop.set()  # the process ends when its threads do
    return serving.result() if serving.done() else 0


def main() -> int:
    """Parses the command line, whose options are named like the daemon's, and obeys it."""
    parser = argparse.ArgumentParser(description="A Proof of Compute node for matmul tasks.")
    add = parser.add_argument
    add("--wallet-address", type=parse_address, metavar="ADDRESS",
        help="wallet that earns the units, 0x... or xdc... (required)")
    add("--coordinator", action="append", metavar="HOST:PORT",
        help="coordinator to dial; repeat it for more than one (default: 127.0.0.1:50051)")
    add("--key-file", type=Path, default=Path("node.key"), metavar="FILE",
        help="the node's key, made at first start, mode 0600 (default: node.key)")
    add("--insecure", action="store_true", help="dial without TLS beyond this machine too")
    add("--audience", metavar="HOST:PORT",
        help="name that the coordinator goes by, when a proxy renames it")
    add("--slots", type=int, choices=range(1, 1025), default=1, metavar="NUMBER",
        help="tasks at once; a single one already uses all cores (default: 1)")
    add("--drain-timeout", type=float, default=30.0, metavar="SECONDS",
        help="how long running tasks may take to finish after SIGTERM (default: 30)")
    add("--self-test", type=Path, metavar="FOLDER",
        help="only compute the known answers of tests/vectors, and compare")
    options = parser.parse_args()
    if options.self_test:
        return min(1, self_test(options.self_test))
    if not options.wallet_address:
        parser.error("--wallet-address is required")
    options.coordinator = options.coordinator or ["127.0.0.1:50051"]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        key = load_key(options.key_file)
    except (OSError, ValueError) as error:
        parser.error(f"--key-file: {error}")
    return asyncio.run(run(options, key))


if __name__ == "__main__":
    sys.exit(main())
