"""Where trust comes from.

``source`` is the port; ``held`` is a root whose key we may use, behind any signer; ``judge`` reads
what comes back before it is believed; ``files`` reads and writes the root that lives in a file.
"""
