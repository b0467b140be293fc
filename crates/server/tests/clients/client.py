"""A client as others write it: stubs from proto/ alone, and the libraries that gRPC has for Python.

Usage: client.py ADDRESS ROOT_TOKEN_FILE PROTO_FOLDER STUBS_FOLDER

It makes the stubs, goes through what a service and an operator do, and ends with 1 at the first answer that is wrong.
"""

import queue
import sys
from pathlib import Path

import grpc
import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

SERVICE = "keyauthority.v1.KeyAuthority"
# How long any call may take before it counts as never answered.
DEADLINE_S = 30

address, root_token_file, proto_folder, stubs_folder = sys.argv[1:]

well_known = Path(grpc_tools.__file__).parent / "_proto"
sources = sorted(str(path) for path in Path(proto_folder).rglob("*.proto"))
made = protoc.main(
    ["protoc", f"-I{proto_folder}", f"-I{well_known}", f"--python_out={stubs_folder}", f"--grpc_python_out={stubs_folder}"]
    + sources
)
assert made == 0, "protoc failed"
sys.path.insert(0, stubs_folder)

from keyauthority.v1 import account_pb2, audit_pb2, key_authority_pb2 as v1, key_authority_pb2_grpc as stubs  # noqa: E402
from keyauthority.v1 import key_pb2, propagation_pb2, verify_pb2  # noqa: E402


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def bearer(token):
    return [("authorization", f"Bearer {token}")]


root = bearer(Path(root_token_file).read_text().strip())
options = {"metadata": root, "timeout": DEADLINE_S}
channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
authority = stubs.KeyAuthorityStub(channel)


def refused(call, request, **others):
    """Makes a call that must fail; returns its code, its message and its details by their types."""
    try:
        call(request, **(options | others))
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        assert status is not None, f"no details: {error}"
        equal(status.code, error.code().value[0])
        equal(status.message, error.details())
        details = {}
        for packed in status.details:
            detail = getattr(error_details_pb2, packed.TypeName().removeprefix("google.rpc."))()
            assert packed.Unpack(detail)
            details[type(detail)] = detail
        equal(details[error_details_pb2.ErrorInfo].domain, "keyauthority")
        return error.code(), details
    raise AssertionError(f"not refused: {request}")


def reason(details):
    return details[error_details_pb2.ErrorInfo].reason


def new_key(key_id, **fields):
    created = authority.CreateKey(v1.CreateKeyRequest(account="acme", key_id=key_id, **fields), **options)
    equal(created.key.id, key_id)
    equal(created.propagation.state, propagation_pb2.PROPAGATION_STATE_CONFIRMED)
    assert created.token.startswith("acme_"), "the policy's prefix"
    assert created.key.token_hint in created.token
    return created


def ask(token, **fields):
    return authority.Verify(verify_pb2.VerifyRequest(token=token, **fields), **options)


def an_account_and_a_key():
    counted = account_pb2.COUNTED_STATES_ACTIVE
    policy = account_pb2.KeyPolicy(token_prefix="acme_", max_keys=20, counted_states=counted)
    account = account_pb2.Account(id="acme", display_name="Acme", policy=policy)
    created = authority.CreateAccount(v1.CreateAccountRequest(account=account), **options).account
    equal((created.id, created.state, created.policy), ("acme", account_pb2.ACCOUNT_STATE_ACTIVE, policy))

    key = new_key("ci", display_name="CI ✓", scopes=["deploy"], labels={"team": "build"}, never_expires=True).key
    equal((key.account, key.display_name, list(key.scopes)), ("acme", "CI ✓", ["deploy"]))
    equal(key.state, key_pb2.KEY_STATE_ACTIVE)
    equal(authority.GetKey(v1.GetKeyRequest(key_id="ci"), **options), key)
    equal(list(authority.ListKeys(v1.ListKeysRequest(account="acme"), **options).keys), [key])


def questions_one_by_one():
    created = new_key("asked", scopes=["deploy"], labels={"team": "build"}, lifetime={"seconds": 3600})
    answer = ask(created.token, scopes=["deploy"], account="acme", key_id="asked")
    equal(answer.verdict, verify_pb2.VERDICT_VALID)
    equal((answer.key_id, answer.account, dict(answer.labels)), ("asked", "acme", {"team": "build"}))
    equal(answer.expire_time, created.key.expire_time)
    denied = ask(created.token, scopes=["deploy", "delete"])
    equal((denied.verdict, list(denied.missing_scopes)), (verify_pb2.VERDICT_SCOPE_DENIED, ["delete"]))
    equal(ask(created.token[:-1]).verdict, verify_pb2.VERDICT_MALFORMED)
    unknown = ask(created.token, key_id="ci")
    equal((unknown.verdict, unknown.key_id, unknown.account), (verify_pb2.VERDICT_UNKNOWN, "", ""))


def questions_in_a_batch():
    tokens = [new_key(f"batch-{number}").token for number in range(2)]
    asked = [tokens[1], "no token", tokens[0]]
    request = verify_pb2.BatchVerifyRequest(requests=[verify_pb2.VerifyRequest(token=token) for token in asked])
    responses = authority.BatchVerify(request, **options).responses
    equal([response.key_id for response in responses], ["batch-1", "", "batch-0"])
    valid, malformed = verify_pb2.VERDICT_VALID, verify_pb2.VERDICT_MALFORMED
    equal([response.verdict for response in responses], [valid, malformed, valid])

    request.requests[1].client_ip = "no address"
    code, details = refused(authority.BatchVerify, request)
    equal((code, reason(details)), (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"))
    [violation] = details[error_details_pb2.BadRequest].field_violations
    equal(violation.field, "requests[1].client_ip")


def questions_on_a_stream():
    token = new_key("streamed").token
    wanted = {7: verify_pb2.VERDICT_VALID, 2**64 - 1: verify_pb2.VERDICT_MALFORMED, 9: verify_pb2.VERDICT_VALID}
    requests = [
        verify_pb2.VerifyStreamRequest(id=7, request=verify_pb2.VerifyRequest(token=token)),
        verify_pb2.VerifyStreamRequest(id=2**64 - 1, request=verify_pb2.VerifyRequest(token="no token")),
        # A question that cannot be answered does not end the stream.
        verify_pb2.VerifyStreamRequest(id=8, request=verify_pb2.VerifyRequest(token=token, client_ip="no address")),
        verify_pb2.VerifyStreamRequest(id=9, request=verify_pb2.VerifyRequest(token=token)),
    ]
    outcomes = list(authority.VerifyStream(iter(requests), **options))
    equal(len(outcomes), len(requests))
    by_id = {outcome.id: outcome for outcome in outcomes}
    error = by_id.pop(8).error
    equal((error.code, error.reason), (grpc.StatusCode.INVALID_ARGUMENT.value[0], "FIELD_INVALID"))
    equal({number: outcome.response.verdict for number, outcome in by_id.items()}, wanted)


def a_revocation_reaches_an_open_stream():
    token = new_key("revoked").token
    question = verify_pb2.VerifyStreamRequest(request=verify_pb2.VerifyRequest(token=token))
    revoke = v1.RevokeKeyRequest(key_id="revoked", reason="lost")

    # The stream takes its questions from here, as they come.
    questions = queue.SimpleQueue()
    outcomes = authority.VerifyStream(iter(questions.get, None), **options)
    questions.put(question)
    equal(next(outcomes).response.verdict, verify_pb2.VERDICT_VALID)
    revoked = authority.RevokeKey(revoke, **options).key
    equal((revoked.state, revoked.revoke_reason), (key_pb2.KEY_STATE_REVOKED, "lost"))
    questions.put(question)
    equal(next(outcomes).response.verdict, verify_pb2.VERDICT_REVOKED)
    questions.put(None)
    equal(list(outcomes), [])
    equal(ask(token).verdict, verify_pb2.VERDICT_REVOKED)


def errors_with_details():
    code, details = refused(authority.GetKey, v1.GetKeyRequest(key_id="nobody"))
    equal((code, reason(details)), (grpc.StatusCode.NOT_FOUND, "KEY_NOT_FOUND"))

    request = v1.CreateKeyRequest(account="acme", display_name="\a", allowed_networks=["192.0.2.1/24"])
    code, details = refused(authority.CreateKey, request)
    equal((code, reason(details)), (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"))
    violations = details[error_details_pb2.BadRequest].field_violations
    equal([violation.field for violation in violations], ["display_name", "allowed_networks[0]"])
    assert all(violation.description for violation in violations), "each says its rule"

    for metadata in (None, bearer("acme_nothing"), [("authorization", "Basic cm9vdDpyb290")]):
        code, details = refused(authority.Verify, verify_pb2.VerifyRequest(token="any"), metadata=metadata)
        equal((code, reason(details)), (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN"))

    request = v1.CreateKeyRequest(account="system", scopes=["verify"])
    verifier = bearer(authority.CreateKey(request, **options).token)
    code, details = refused(authority.RevokeKey, v1.RevokeKeyRequest(key_id="ci"), metadata=verifier)
    equal((code, reason(details)), (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"))
    assert details[error_details_pb2.ErrorInfo].metadata["permission"]


def the_audit_log():
    request = v1.ListAuditEventsRequest(account="acme", key_id="revoked")
    events = authority.ListAuditEvents(request, **options).events
    equal([event.action for event in events], [audit_pb2.ACTION_CREATE_KEY, audit_pb2.ACTION_REVOKE_KEY])
    revoked = events[1]
    equal(revoked.before["state"], "KEY_STATE_ACTIVE")
    equal(revoked.after["state"], "KEY_STATE_REVOKED")
    assert revoked.time.ToDatetime() >= events[0].time.ToDatetime()


def health():
    stub = health_pb2_grpc.HealthStub(channel)
    states = health_pb2.HealthCheckResponse
    for service in ("", SERVICE, "storage"):
        request = health_pb2.HealthCheckRequest(service=service)
        # Not a word of a credential: a load balancer has none.
        equal(stub.Check(request, timeout=DEADLINE_S).status, states.SERVING)
        watch = stub.Watch(request, timeout=DEADLINE_S)
        equal(next(watch).status, states.SERVING)
        watch.cancel()
    request = health_pb2.HealthCheckRequest(service="nothing")
    watch = stub.Watch(request, timeout=DEADLINE_S)
    equal(next(watch).status, states.SERVICE_UNKNOWN)
    watch.cancel()
    try:
        stub.Check(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        equal(error.code(), grpc.StatusCode.NOT_FOUND)
    else:
        raise AssertionError("an unknown service has a health")


def reflection_v1():
    # grpcio-reflection has only v1alpha, whose messages are those of v1 but for their package.
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    def answer(**question):
        [response] = reflect(iter([reflection_pb2.ServerReflectionRequest(**question)]), timeout=DEADLINE_S)
        assert response.WhichOneof("message_response") != "error_response", f"{question}: {response}"
        return response

    services = {service.name for service in answer(list_services="").list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= services, services
    # What an error carries can be decoded by reflection alone, too.
    for symbol in (SERVICE, "google.rpc.ErrorInfo", "google.rpc.BadRequest", "grpc.health.v1.Health"):
        files = answer(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
        assert files, symbol
    described(answer)


def described(answer):
    """Makes a call with what reflection tells, and no stubs."""
    known = {}

    def add(files):
        for serialized in files:
            file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
            known[file.name] = file
            for needed in file.dependency:
                if needed not in known:
                    add(answer(file_by_filename=needed).file_descriptor_response.file_descriptor_proto)

    add(answer(file_containing_symbol=SERVICE).file_descriptor_response.file_descriptor_proto)
    pool = descriptor_pool.DescriptorPool()

    def build(name):
        for needed in known[name].dependency:
            if needed in known:
                build(needed)
        file = known.pop(name)
        pool.Add(file)

    while known:
        build(next(iter(known)))
    check_service(pool)


def reflection_v1alpha():
    check_service(descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel)))


def check_service(pool):
    service = pool.FindServiceByName(SERVICE)
    stubbed = v1.DESCRIPTOR.services_by_name["KeyAuthority"]
    equal([method.name for method in service.methods], [method.name for method in stubbed.methods])
    method = service.methods_by_name["Verify"]
    request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    verify = channel.unary_unary(
        f"/{SERVICE}/Verify", request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    equal(verify(request(token="no token"), **options).verdict, verify_pb2.VERDICT_MALFORMED)


for step in (
    an_account_and_a_key,
    questions_one_by_one,
    questions_in_a_batch,
    questions_on_a_stream,
    a_revocation_reaches_an_open_stream,
    errors_with_details,
    the_audit_log,
    health,
    reflection_v1,
    reflection_v1alpha,
):
    print(step.__name__, flush=True)
    step()
channel.close()
print("done")
