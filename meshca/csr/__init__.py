"""What is asked: a certificate signing request, judged against the identity that was proven.

``parse`` reads the bytes, ``public_key`` says which keys are good enough, ``extensions`` and
``subject_names`` what may stand in a request, ``blocked`` which keys nobody may use; ``judgement``
puts them in order. Nothing of a request is used afterwards but its public key.
"""

from __future__ import annotations

from meshca.csr.blocked import BlockedKeys
from meshca.csr.judgement import CHECKS, Rules, SigningRequest, judge
from meshca.csr.parse import Form
from meshca.csr.subject_names import Expected

__all__ = ["CHECKS", "BlockedKeys", "Expected", "Form", "Rules", "SigningRequest", "judge"]
