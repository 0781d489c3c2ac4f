"""Deciding and signing: from a proven identity and a CSR to a recorded certificate.

``pipeline`` is the one way in; read it first. It takes the present ``authorities``, asks
``policy`` and ``limits``, has the ``profile`` make a ``draft``, signs it, has it ``lint``-ed, and
records it in the ``ledger`` before anybody sees it.
"""
