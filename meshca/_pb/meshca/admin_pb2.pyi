import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Server(_message.Message):
    __slots__ = ("version", "trust_domain", "epoch", "bundle_sequence", "active_issuer", "started")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TRUST_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_ISSUER_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    version: str
    trust_domain: str
    epoch: int
    bundle_sequence: int
    active_issuer: str
    started: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., trust_domain: _Optional[str] = ..., epoch: _Optional[int] = ..., bundle_sequence: _Optional[int] = ..., active_issuer: _Optional[str] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListCertificatesRequest(_message.Message):
    __slots__ = ("limit", "namespace", "service_account", "pod", "issuer", "service", "cluster", "live")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    limit: int
    namespace: str
    service_account: str
    pod: str
    issuer: str
    service: str
    cluster: str
    live: bool
    def __init__(self, limit: _Optional[int] = ..., namespace: _Optional[str] = ..., service_account: _Optional[str] = ..., pod: _Optional[str] = ..., issuer: _Optional[str] = ..., service: _Optional[str] = ..., cluster: _Optional[str] = ..., live: _Optional[bool] = ...) -> None: ...

class GetCertificateRequest(_message.Message):
    __slots__ = ("serial",)
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    serial: str
    def __init__(self, serial: _Optional[str] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("serial", "identity", "cluster", "namespace", "service_account", "pod", "pod_uid", "node", "peer", "service", "proof", "credential", "issuer", "not_before", "not_after", "issued", "spki_sha256", "bundle_sequence", "epoch", "writer", "counter", "request_id", "running_hash", "der")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    SPKI_SHA256_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RUNNING_HASH_FIELD_NUMBER: _ClassVar[int]
    DER_FIELD_NUMBER: _ClassVar[int]
    serial: str
    identity: str
    cluster: str
    namespace: str
    service_account: str
    pod: str
    pod_uid: str
    node: str
    peer: str
    service: str
    proof: str
    credential: str
    issuer: str
    not_before: _timestamp_pb2.Timestamp
    not_after: _timestamp_pb2.Timestamp
    issued: _timestamp_pb2.Timestamp
    spki_sha256: bytes
    bundle_sequence: int
    epoch: int
    writer: str
    counter: int
    request_id: str
    running_hash: bytes
    der: bytes
    def __init__(self, serial: _Optional[str] = ..., identity: _Optional[str] = ..., cluster: _Optional[str] = ..., namespace: _Optional[str] = ..., service_account: _Optional[str] = ..., pod: _Optional[str] = ..., pod_uid: _Optional[str] = ..., node: _Optional[str] = ..., peer: _Optional[str] = ..., service: _Optional[str] = ..., proof: _Optional[str] = ..., credential: _Optional[str] = ..., issuer: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., issued: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., spki_sha256: _Optional[bytes] = ..., bundle_sequence: _Optional[int] = ..., epoch: _Optional[int] = ..., writer: _Optional[str] = ..., counter: _Optional[int] = ..., request_id: _Optional[str] = ..., running_hash: _Optional[bytes] = ..., der: _Optional[bytes] = ...) -> None: ...

class ListIssuersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListIssuersResponse(_message.Message):
    __slots__ = ("issuers",)
    ISSUERS_FIELD_NUMBER: _ClassVar[int]
    issuers: _containers.RepeatedCompositeFieldContainer[Issuer]
    def __init__(self, issuers: _Optional[_Iterable[_Union[Issuer, _Mapping]]] = ...) -> None: ...

class Issuer(_message.Message):
    __slots__ = ("id", "state", "root", "not_before", "not_after", "key_type", "key", "spki_sha256", "chain", "created", "because", "live_leaves", "last_leaf_ends")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    KEY_TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SPKI_SHA256_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    LIVE_LEAVES_FIELD_NUMBER: _ClassVar[int]
    LAST_LEAF_ENDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    root: str
    not_before: _timestamp_pb2.Timestamp
    not_after: _timestamp_pb2.Timestamp
    key_type: str
    key: str
    spki_sha256: bytes
    chain: str
    created: _timestamp_pb2.Timestamp
    because: str
    live_leaves: int
    last_leaf_ends: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., root: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., key_type: _Optional[str] = ..., key: _Optional[str] = ..., spki_sha256: _Optional[bytes] = ..., chain: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., because: _Optional[str] = ..., live_leaves: _Optional[int] = ..., last_leaf_ends: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListRootsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRootsResponse(_message.Message):
    __slots__ = ("roots", "bundle_sequence")
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    roots: _containers.RepeatedCompositeFieldContainer[Root]
    bundle_sequence: int
    def __init__(self, roots: _Optional[_Iterable[_Union[Root, _Mapping]]] = ..., bundle_sequence: _Optional[int] = ...) -> None: ...

class Root(_message.Message):
    __slots__ = ("id", "state", "subject", "not_before", "not_after", "key_type", "fingerprint", "certificate")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    KEY_TYPE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    subject: str
    not_before: _timestamp_pb2.Timestamp
    not_after: _timestamp_pb2.Timestamp
    key_type: str
    fingerprint: bytes
    certificate: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., subject: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., key_type: _Optional[str] = ..., fingerprint: _Optional[bytes] = ..., certificate: _Optional[str] = ...) -> None: ...

class ExplainTokenRequest(_message.Message):
    __slots__ = ("token", "service", "cluster")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    token: str
    service: str
    cluster: str
    def __init__(self, token: _Optional[str] = ..., service: _Optional[str] = ..., cluster: _Optional[str] = ...) -> None: ...

class ExplainCsrRequest(_message.Message):
    __slots__ = ("csr", "service", "service_account")
    CSR_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    csr: bytes
    service: str
    service_account: str
    def __init__(self, csr: _Optional[bytes] = ..., service: _Optional[str] = ..., service_account: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("accepted", "identity", "checks")
    class Check(_message.Message):
        __slots__ = ("name", "result", "detail")
        NAME_FIELD_NUMBER: _ClassVar[int]
        RESULT_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        name: str
        result: str
        detail: str
        def __init__(self, name: _Optional[str] = ..., result: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    identity: str
    checks: _containers.RepeatedCompositeFieldContainer[Explanation.Check]
    def __init__(self, accepted: _Optional[bool] = ..., identity: _Optional[str] = ..., checks: _Optional[_Iterable[_Union[Explanation.Check, _Mapping]]] = ...) -> None: ...

class CheckLedgerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LedgerFinding(_message.Message):
    __slots__ = ("writer", "rows", "fault")
    WRITER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    writer: str
    rows: int
    fault: str
    def __init__(self, writer: _Optional[str] = ..., rows: _Optional[int] = ..., fault: _Optional[str] = ...) -> None: ...

class RotateIssuerRequest(_message.Message):
    __slots__ = ("because",)
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    because: str
    def __init__(self, because: _Optional[str] = ...) -> None: ...

class GetRotationRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Gate(_message.Message):
    __slots__ = ("name", "state", "reason", "have", "need")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    reason: str
    have: int
    need: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., have: _Optional[int] = ..., need: _Optional[int] = ...) -> None: ...

class Rotation(_message.Message):
    __slots__ = ("issuer", "state", "because", "gates", "joined", "active_issuer", "epoch", "trouble")
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_ISSUER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    issuer: str
    state: str
    because: str
    gates: _containers.RepeatedCompositeFieldContainer[Gate]
    joined: bool
    active_issuer: str
    epoch: int
    trouble: str
    def __init__(self, issuer: _Optional[str] = ..., state: _Optional[str] = ..., because: _Optional[str] = ..., gates: _Optional[_Iterable[_Union[Gate, _Mapping]]] = ..., joined: _Optional[bool] = ..., active_issuer: _Optional[str] = ..., epoch: _Optional[int] = ..., trouble: _Optional[str] = ...) -> None: ...
