"""Clients that behave as the proxies do, and judge what our server answers.

They share no code with meshca but the generated protobuf messages, and they verify with OpenSSL (the
``openssl`` command and Python's ``ssl``). What each one copies, and from where:

``linkerd_proxy.LinkerdProxy`` — linkerd2-proxy and its Go wrapper (``reference/linkerd.md``)
    - §1.2: one P-256 key and one DER CSR for its whole life, ``CN=<local name>`` also when that is over
      64 characters, exactly one DNS SAN; renewals use both again;
    - §1.3: the token file read on every call, an empty one an error, a new connection each time;
      ``valid_until`` present and later than now; the next try after 70 % of what is left, between 10 s
      and 24 h, without jitter, also after an error;
    - §1.4: the chain must verify now, some DNS or URI SAN must be the local name (a DNS SAN with a final
      dot is ignored), peers take the first SAN, the key must be ours, the signature algorithms;
    - §1.5: plaintext HTTP/2 with prior knowledge; or TLS 1.3 without ALPN, SNI and SAN the server's name,
      its current certificate presented even when that has expired; ``:scheme http`` on both.

``pilot_agent.PilotAgent`` — pilot-agent with its Envoy (``reference/istio.md``)
    - §1.1: ``authorization: Bearer``, ``clusterid``, ``CertSigner`` always in the metadata, possibly empty;
    - §1.3: RSA-2048, P-256 or P-384, a new key each time, subject ``O=""``, one critical URI SAN; the token
      trimmed and read on every call, none sent when there is no file; TLS 1.2 or later; no deadline on the
      wire; 5 attempts for six codes, 100 ms doubling with a jitter of 0.1; a new connection after a failure;
      ``len(cert_chain) <= 1`` refused; NotAfter of the first certificate only; the last string is the
      roots, all strings together the chain; rotation at 0.5 ± 0.01 of what is left at receipt.

``ztunnel.Ztunnel`` — ztunnel in dedicated mode (``reference/istio.md``)
    - §0.3, §1.4: TLS 1.3, AES-GCM, HTTP/2 by ALPN on one kept connection; P-256, empty subject, one
      critical URI SAN, a new key each time; the token file not trimmed; no metadata; only the first PEM
      block of each string but the last, all of the last as roots; nothing without a leaf and a root; the
      SAN check; renewal half-way between notBefore and notAfter (§0.4).

Where a real client would take an answer and only its peers would suffer, ours still says no:
:class:`~tests.clients.errors.AnswerUseless` instead of :class:`~tests.clients.errors.AnswerRefused`.

``workload`` has what a client got, OpenSSL's verdict on it, and the mutual TLS handshake of two workloads.
``reference_server`` answers as upstream does, or wrongly on purpose, so that the judges are judged, too.
"""
