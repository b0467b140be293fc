"""Calls Verify from several clients, each with a connection of its own, and counts calls that failed.

Arguments: address, seconds, clients. The environment has the caller's token and the encoded request.
"""

import collections
import json
import os
import sys
import threading
import time

import grpc

CALLS_IN_FLIGHT = 8
METHOD = "/keyauthority.v1.KeyAuthority/Verify"


def call(address, end, counts, lock):
    question = bytes.fromhex(os.environ["ABUSE_QUESTION"])
    metadata = [("authorization", "Bearer " + os.environ["ABUSE_TOKEN"])]
    # Without its own pool, all channels of a process share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    calls, failed = 0, collections.Counter()
    with grpc.insecure_channel(address, options=options) as channel:
        verify = channel.unary_unary(METHOD)
        while time.monotonic() < end:
            futures = [verify.future(question, metadata=metadata, timeout=10) for _ in range(CALLS_IN_FLIGHT)]
            for future in futures:
                calls += 1
                try:
                    future.result()
                except grpc.RpcError as error:
                    failed[f"{error.code().name}: {error.details()}"] += 1
    with lock:
        counts["calls"] += calls
        counts["failed"].update(failed)


def main():
    address, seconds, clients = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    counts, lock = {"calls": 0, "failed": collections.Counter()}, threading.Lock()
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=call, args=(address, end, counts, lock)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


main()
